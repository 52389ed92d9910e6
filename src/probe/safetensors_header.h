#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace mlxk {

/// The element types of the safetensors format.
enum class TensorDtype {
  boolean,
  u8,
  i8,
  f8_e4m3,
  f8_e5m2,
  f8_e8m0,
  u16,
  i16,
  f16,
  bf16,
  u32,
  i32,
  f32,
  u64,
  i64,
  f64,
  c64
};

/// Bytes of one element.
uint64_t dtype_bytes(TensorDtype dtype);

/// The format's name, e.g. "BF16".
std::string_view dtype_name(TensorDtype dtype);

/// One tensor of a safetensors file; every number is checked: end - begin is the shape's product times dtype_bytes.
struct TensorEntry {
  std::string name;
  TensorDtype dtype = TensorDtype::u8;
  std::vector<int64_t> shape;   // each in [0, 2^31); empty: a scalar
  uint64_t begin = 0, end = 0;  // bytes, from the end of the header
};

struct SafetensorsHeader {
  std::vector<TensorEntry> tensors;             // by offset: no overlap, no gap, names unique
  std::map<std::string, std::string> metadata;  // "__metadata__"
  uint64_t header_bytes = 0;                    // from the file's start to the first tensor byte
};

/// Reads and validates the header of the regular file `path`, and checks the file's length against it; reads no weight.
/// Throws io, and bad_model naming path, tensor and value. Any thread.
SafetensorsHeader read_safetensors_header(const std::filesystem::path& path);

/// Parses and validates the JSON text of a header, which `data_bytes` follow in the file; errors name `place`.
SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t data_bytes, std::string_view place);

}  // namespace mlxk
