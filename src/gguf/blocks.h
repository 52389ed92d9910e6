#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "gguf/ggml_type.h"

namespace mlxk {

/// A block as integers with a scale and a bias for each group: value[i] = scale[i / group] * q[i] + bias[i / group].
/// Every block type supported here has this form; code books become offsets from their smallest value.
struct AffineBlock {
  uint8_t q[256];
  float scale[16];
  float bias[16];
};

/// Unpacks one block of a type whose group is not 0; `block` holds block_bytes.
void unpack_block(GgmlType type, const std::byte* block, AffineBlock& out);

/// Elements of any supported type as float32. `data` holds whole blocks for out.size() elements; throws unsupported
/// naming another type.
void dequantize(GgmlType type, std::span<const std::byte> data, std::span<float> out);

/// The value of a half-precision number given by its bits.
float half_to_float(uint16_t bits);

}  // namespace mlxk
