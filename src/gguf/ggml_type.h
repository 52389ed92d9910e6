#pragma once

#include <cstdint>
#include <string>

namespace mlxk {

/// The storage type of a GGUF tensor's elements; the numbers are the file's.
enum class GgmlType : uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  iq4_nl = 20,
  iq4_xs = 23,
  bf16 = 30,
  mxfp4 = 39,
};

/// One row of the table of element types, including those that are only known by name.
struct GgmlTypeInfo {
  uint32_t number;
  const char* name;
  uint32_t block_elements;
  uint32_t block_bytes;
  uint32_t group;  // elements that share a scale in unpack_block; 0: not a supported block type
  uint32_t bits;   // of the integers that unpack_block returns
};

/// The row for a type number, or null if the type is unknown.
const GgmlTypeInfo* find_ggml_type(uint32_t number);

/// The row of a known type.
const GgmlTypeInfo& ggml_type_info(GgmlType type);

/// True if dequantize() reads it.
bool is_readable(GgmlType type);

}  // namespace mlxk
