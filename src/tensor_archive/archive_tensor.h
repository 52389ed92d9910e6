#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "probe/safetensors_header.h"

namespace mlxk {

/// A tensor of an archive: its name, type and shape, and its elements row by row. The entry's offsets are not used.
struct ArchiveTensor {
  TensorEntry entry;
  std::span<const std::byte> data;
};

/// Keeps the elements of tensors that do not lie row by row in their file.
using TensorBuffers = std::deque<std::vector<std::byte>>;

/// Elements as they lie in a file: `offset` and `strides` count elements.
struct StridedData {
  std::span<const std::byte> storage;
  int64_t offset = 0;
  std::vector<int64_t> strides;
};

/// `entry` over `source`: in place where its elements lie in order, else gathered into a new one of `buffers`. Throws
/// bad_model naming `place` and the tensor when it reaches past the storage or has more elements than that.
ArchiveTensor in_row_order(TensorEntry entry, const StridedData& source, TensorBuffers& buffers,
                           const std::string& place);

}  // namespace mlxk
