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

/// A tensor in a mapped file, its elements row by row, or one that is computed of such.
struct SourceTensor {
  TensorEntry entry;
  std::span<const std::byte> data;
  size_t file = 0;                                       // which of the files
  std::shared_ptr<std::optional<mx::array>> array = {};  // of one that is computed, until it is released

  /// The elements; evaluates what is computed.
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

/// The tensors of a folder's weight files, each file's header validated first. The files stay mapped as long as this
/// object.
class SourceTensors {
 public:
  /// Those of `file` alone, or where that is empty of all files(folder). Throws bad_model (also for a name in two
  /// files), unsupported or io.
  explicit SourceTensors(const std::filesystem::path& folder, const std::filesystem::path& file = {});

  /// model*.safetensors, or other *.safetensors, or PyTorch's *.bin, *.pth and *.pt, or *.npz: the first kind that is
  /// there. Throws bad_model when there is none, or when an index names a file that is not there.
  static SourceFiles files(const std::filesystem::path& folder);

  const std::map<std::string, SourceTensor>& tensors() const { return tensors_; }
  const SourceTensor* find(const std::string& name) const;
  /// Lets go of the memory that holds `part` of the tensor's data; of a computed one with its last part.
  void release(const SourceTensor& tensor, std::span<const std::byte> part) const;
  /// Throws io when some of a file could not be read since it was opened.
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

/// libmlx's type for those that weights have (U8, U32, F16, BF16, F32, F64); throws unsupported naming the tensor.
mx::Dtype mlx_dtype(const TensorEntry& entry);

/// Rows [first, first + count) as an array [count, columns] of the tensor's own type.
mx::array rows_array(const SourceTensor& tensor, uint64_t first, uint64_t count);

}  // namespace mlxk
