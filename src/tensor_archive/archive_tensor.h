#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "probe/safetensors_header.h"

namespace mlxk {

/// A tensor of an archive: its name, type and shape, and its elements in row-major order. The entry's offsets are not
/// used.
struct ArchiveTensor {
  TensorEntry entry;
  std::span<const std::byte> data;
};

/// Owns the elements of tensors that are not row-major in their file.
using TensorBuffers = std::deque<std::vector<std::byte>>;

/// Elements in file layout: `offset` and `strides` count elements.
struct StridedData {
  std::span<const std::byte> storage;
  int64_t offset = 0;
  std::vector<int64_t> strides;
};

/// `entry` over `source`: in place if its elements are in order, else gathered into a new buffer in `buffers`. Throws
/// bad_model naming `place` and the tensor if it exceeds the storage.
ArchiveTensor in_row_order(TensorEntry entry, const StridedData& source, TensorBuffers& buffers,
                           const std::string& place);

}  // namespace mlxk
