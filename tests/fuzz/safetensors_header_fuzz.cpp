// The safetensors header (first byte even) and the weight index (odd); the next byte is the length of the data.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "probe/safetensors_header.h"
#include "probe/weight_index.h"

namespace {

/// The parser's promises for every header that it accepts.
void check(const mlxk::SafetensorsHeader& header, uint64_t data_bytes) {
  uint64_t at = 0;
  for (const auto& tensor : header.tensors) {
    uint64_t bytes = mlxk::dtype_bytes(tensor.dtype);
    for (const int64_t dim : tensor.shape) {
      if (dim < 0) std::abort();
      bytes *= static_cast<uint64_t>(dim);
    }
    if (tensor.begin != at || tensor.end - tensor.begin != bytes) std::abort();
    at = tensor.end;
  }
  if (at != data_bytes) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view json(reinterpret_cast<const char*>(data) + 2, size - 2);
  try {
    if (data[0] % 2 == 0) {
      check(mlxk::parse_safetensors_header(json, data[1], "fuzz"), data[1]);
    } else {
      for (const auto& [tensor, shard] : mlxk::parse_weight_index(json, "fuzz").shard_of) {
        if (shard.find('/') != std::string::npos || shard == "..") std::abort();
      }
    }
  } catch (const mlxk::Error&) {
  }
  return 0;
}
