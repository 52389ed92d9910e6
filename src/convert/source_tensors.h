#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "mlx/array.h"
#include "probe/safetensors_header.h"
#include "tensor_archive/archive_tensor.h"

namespace mlxk {

namespace mx = mlx::core;

/// A tensor in a mapped file, its elements row by row, or one that is computed from such tensors.
struct SourceTensor {
  TensorEntry entry;
  std::span<const std::byte> data;
  size_t file = 0;                                       // an index into the files
  std::shared_ptr<std::optional<mx::array>> array = {};  // of a computed tensor, until it is released

  /// The elements; evaluates a computed tensor.
  std::span<const std::byte> bytes() const;

  bool is_float() const;
  uint64_t rows() const;     // all but the last dimension
  uint64_t columns() const;  // 1 for a scalar
};

/// The files that hold a folder's weights.
struct SourceFiles {
  std::vector<std::filesystem::path> paths;  // sorted
  bool foreign = false;                      // PyTorch's or NumPy's, not safetensors
};

/// The tensors of a folder's weight files, after each file's header was validated. The files stay mapped as long as
/// this object.
class SourceTensors {
 public:
  /// The tensors of `file` alone, or if that is empty of all files(folder). Throws bad_model (also for a name in two
  /// files), unsupported or io.
  explicit SourceTensors(const std::filesystem::path& folder, const std::filesystem::path& file = {});

  /// model*.safetensors, or other *.safetensors, or PyTorch's *.bin, *.pth and *.pt, or *.npz: the first kind that is
  /// present. Throws bad_model if there is none, or if an index names a missing file.
  static SourceFiles files(const std::filesystem::path& folder);

  const std::map<std::string, SourceTensor>& tensors() const { return tensors_; }
  const SourceTensor* find(const std::string& name) const;
  /// Frees the memory that holds `part` of the tensor's data; for a computed tensor with its last part.
  void release(const SourceTensor& tensor, std::span<const std::byte> part) const;
  /// Throws io if part of a file could not be read since it was opened.
  void check() const {
    for (const auto& file : files_) file.check();
  }

 private:
  void add_safetensors(const std::filesystem::path& path);
  void add_archive(const std::filesystem::path& path);
  void add(const std::filesystem::path& path, SourceTensor tensor);

  std::vector<MappedFile> files_;
  TensorBuffers buffers_;
  std::map<std::string, SourceTensor> tensors_;
};

/// Whether a file of that name can hold weights that SourceTensors reads.
bool is_weights_name(const std::string& name);

/// libmlx's type for the types of weights (U8, U32, F16, BF16, F32, F64); throws unsupported naming the tensor.
mx::Dtype mlx_dtype(const TensorEntry& entry);

/// Rows [first, first + count) as an array [count, columns] of the tensor's own type.
mx::array rows_array(const SourceTensor& tensor, uint64_t first, uint64_t count);

}  // namespace mlxk
