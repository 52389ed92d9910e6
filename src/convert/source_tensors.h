#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "mlx/array.h"
#include "probe/safetensors_header.h"

namespace mlxk {

namespace mx = mlx::core;

/// A tensor in a mapped file.
struct SourceTensor {
  TensorEntry entry;
  std::span<const std::byte> data;

  bool is_float() const;
  uint64_t rows() const;     // all but the last dimension
  uint64_t columns() const;  // 1 for a scalar
};

/// The tensors of every model*.safetensors in a folder (of *.safetensors where there is none), each header validated
/// first. The files stay mapped as long as this object.
class SourceTensors {
 public:
  /// Throws bad_model (also for a name in two files) or io.
  explicit SourceTensors(const std::filesystem::path& folder);

  const std::map<std::string, SourceTensor>& tensors() const { return tensors_; }
  const SourceTensor* find(const std::string& name) const;
  /// Throws io when some of a file could not be read since it was opened.
  void check() const {
    for (const auto& file : files_) file.check();
  }

 private:
  std::vector<MappedFile> files_;
  std::map<std::string, SourceTensor> tensors_;
};

/// Rows [first, first + count) as an array [count, columns] of the tensor's own type (U8, U32, F16, BF16, F32).
mx::array rows_array(const SourceTensor& tensor, uint64_t first, uint64_t count);

}  // namespace mlxk
