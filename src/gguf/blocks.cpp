// Block layouts: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and ggml-common.h there.
#include "gguf/blocks.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "base/error.h"

namespace mlxk {

static_assert(std::endian::native == std::endian::little, "GGUF blocks are read as little-endian");

namespace {
template <class T>
T load(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

float half_at(const uint8_t* at) { return half_to_float(load<uint16_t>(at)); }

/// 16 bytes: low nibbles are elements 0..15, high nibbles 16..31.
void nibbles(const uint8_t* packed, uint8_t* q) {
  for (int i = 0; i < 16; ++i) {
    q[i] = packed[i] & 15;
    q[i + 16] = packed[i] >> 4;
  }
}

/// The fifth bit of 32 elements.
void add_fifth_bits(uint32_t bits, uint8_t* q) {
  for (int i = 0; i < 32; ++i) q[i] |= static_cast<uint8_t>((bits >> i & 1) << 4);
}

void code_book(const int8_t (&values)[16], int smallest, uint8_t* q) {
  for (int i = 0; i < 32; ++i) q[i] = static_cast<uint8_t>(values[q[i]] - smallest);
}

constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr int8_t kFp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};  // doubled

/// The eight 6-bit scales and minima of Q4_K and Q5_K, packed in 12 bytes.
void six_bit_pairs(const uint8_t* packed, uint8_t (&scale)[8], uint8_t (&minimum)[8]) {
  for (int i = 0; i < 4; ++i) {
    scale[i] = packed[i] & 63;
    minimum[i] = packed[i + 4] & 63;
    scale[i + 4] = (packed[i + 8] & 15) | (packed[i] >> 2 & 0x30);
    minimum[i + 4] = (packed[i + 8] >> 4) | (packed[i + 4] >> 2 & 0x30);
  }
}

void unpack_q2_k(const uint8_t* b, AffineBlock& out) {
  const uint8_t* scales = b;
  const uint8_t* qs = b + 16;
  const float d = half_at(b + 80), dmin = half_at(b + 82);
  for (int g = 0; g < 16; ++g) {
    out.scale[g] = d * static_cast<float>(scales[g] & 15);
    out.bias[g] = -(dmin * static_cast<float>(scales[g] >> 4));
  }
  for (int i = 0; i < 256; ++i) out.q[i] = qs[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
}

void unpack_q3_k(const uint8_t* b, AffineBlock& out) {
  const uint8_t* high = b;
  const uint8_t* qs = b + 32;
  const uint8_t* scales = b + 96;
  const float d = half_at(b + 108);
  for (int g = 0; g < 16; ++g) {
    const int low = g < 8 ? scales[g] & 15 : scales[g - 8] >> 4;
    const int value = (low | (scales[8 + g % 4] >> (g / 4 * 2) & 3) << 4) - 32;
    out.scale[g] = d * static_cast<float>(value);
    out.bias[g] = -4 * out.scale[g];
  }
  for (int i = 0; i < 256; ++i) {
    const int low = qs[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
    out.q[i] = static_cast<uint8_t>(low | (high[i % 32] >> (i / 32) & 1) << 2);
  }
}

void unpack_q45_k(const uint8_t* b, bool five, AffineBlock& out) {
  const float d = half_at(b), dmin = half_at(b + 2);
  uint8_t scale[8], minimum[8];
  six_bit_pairs(b + 4, scale, minimum);
  const uint8_t* high = b + 16;
  const uint8_t* qs = five ? b + 48 : b + 16;
  for (int g = 0; g < 8; ++g) {
    out.scale[g] = d * static_cast<float>(scale[g]);
    out.bias[g] = -(dmin * static_cast<float>(minimum[g]));
    for (int i = 0; i < 32; ++i) {
      int q = qs[g / 2 * 32 + i] >> (g % 2 * 4) & 15;
      if (five) q |= (high[i] >> g & 1) << 4;
      out.q[g * 32 + i] = static_cast<uint8_t>(q);
    }
  }
}

void unpack_q6_k(const uint8_t* b, AffineBlock& out) {
  const uint8_t* low = b;
  const uint8_t* high = b + 128;
  const uint8_t* scales = b + 192;
  const float d = half_at(b + 208);
  for (int g = 0; g < 16; ++g) {
    out.scale[g] = d * static_cast<float>(static_cast<int8_t>(scales[g]));
    out.bias[g] = -32 * out.scale[g];
  }
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, in_half = i % 128;
    const int nibble = low[half * 64 + in_half % 64] >> (in_half / 64 * 4) & 15;
    const int top = high[half * 32 + in_half % 32] >> (in_half / 32 * 2) & 3;
    out.q[i] = static_cast<uint8_t>(nibble | top << 4);
  }
}

void unpack_iq4_xs(const uint8_t* b, AffineBlock& out) {
  const float d = half_at(b);
  const auto high = load<uint16_t>(b + 2);
  for (int g = 0; g < 8; ++g) {
    const int low = b[4 + g / 2] >> (g % 2 * 4) & 15;
    const int value = (low | (high >> (2 * g) & 3) << 4) - 32;
    out.scale[g] = d * static_cast<float>(value);
    out.bias[g] = -127 * out.scale[g];
    nibbles(b + 8 + g * 16, out.q + g * 32);
    code_book(kIq4Values, -127, out.q + g * 32);
  }
}

/// Half of the power of two that an E8M0 exponent means (the code book is doubled).
float half_e8m0(uint8_t exponent) {
  return std::bit_cast<float>(exponent < 2 ? 0x00200000U << exponent : uint32_t{exponent - 1U} << 23);
}
}  // namespace

float half_to_float(uint16_t bits) {
  const uint32_t sign = (bits & 0x8000U) << 16, exponent = bits >> 10 & 31, fraction = bits & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000U | fraction << 13);
  if (exponent == 0) {
    const float value = static_cast<float>(fraction) * 0x1p-24F;
    return sign ? -value : value;
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

void unpack_block(GgmlType type, const std::byte* block, AffineBlock& out) {
  const auto* b = reinterpret_cast<const uint8_t*>(block);
  switch (type) {
    case GgmlType::q4_0:
    case GgmlType::q5_0:
      out.scale[0] = half_at(b);
      if (type == GgmlType::q4_0) {
        out.bias[0] = -8 * out.scale[0];
        nibbles(b + 2, out.q);
      } else {
        out.bias[0] = -16 * out.scale[0];
        nibbles(b + 6, out.q);
        add_fifth_bits(load<uint32_t>(b + 2), out.q);
      }
      return;
    case GgmlType::q4_1:
    case GgmlType::q5_1:
      out.scale[0] = half_at(b);
      out.bias[0] = half_at(b + 2);
      if (type == GgmlType::q4_1) {
        nibbles(b + 4, out.q);
      } else {
        nibbles(b + 8, out.q);
        add_fifth_bits(load<uint32_t>(b + 4), out.q);
      }
      return;
    case GgmlType::q8_0:
      out.scale[0] = half_at(b);
      out.bias[0] = -128 * out.scale[0];
      for (int i = 0; i < 32; ++i) out.q[i] = b[2 + i] ^ 0x80;  // int8 + 128
      return;
    case GgmlType::iq4_nl:
      out.scale[0] = half_at(b);
      out.bias[0] = -127 * out.scale[0];
      nibbles(b + 2, out.q);
      code_book(kIq4Values, -127, out.q);
      return;
    case GgmlType::mxfp4:
      out.scale[0] = half_e8m0(b[0]);
      out.bias[0] = -12 * out.scale[0];
      nibbles(b + 1, out.q);
      code_book(kFp4Values, -12, out.q);
      return;
    case GgmlType::q2_k: return unpack_q2_k(b, out);
    case GgmlType::q3_k: return unpack_q3_k(b, out);
    case GgmlType::q4_k: return unpack_q45_k(b, false, out);
    case GgmlType::q5_k: return unpack_q45_k(b, true, out);
    case GgmlType::q6_k: return unpack_q6_k(b, out);
    case GgmlType::iq4_xs: return unpack_iq4_xs(b, out);
    case GgmlType::f32:
    case GgmlType::f16:
    case GgmlType::bf16: break;
  }
  throw Error(ErrorKind::unsupported, fmt::format("[gguf] {} blocks cannot be read", ggml_type_info(type).name));
}

void dequantize(GgmlType type, std::span<const std::byte> data, std::span<float> out) {
  const auto& info = ggml_type_info(type);
  if (out.size() % info.block_elements != 0 || data.size() != out.size() / info.block_elements * info.block_bytes) {
    throw Error(ErrorKind::internal,
                fmt::format("[gguf] {} bytes of {} are not {} elements", data.size(), info.name, out.size()));
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(data.data());
  switch (type) {
    case GgmlType::f32:
      if (!data.empty()) std::memcpy(out.data(), bytes, data.size());
      return;
    case GgmlType::f16:
      for (size_t i = 0; i < out.size(); ++i) out[i] = half_at(bytes + 2 * i);
      return;
    case GgmlType::bf16:
      for (size_t i = 0; i < out.size(); ++i)
        out[i] = std::bit_cast<float>(uint32_t{load<uint16_t>(bytes + 2 * i)} << 16);
      return;
    default: break;
  }
  if (!is_readable(type)) throw Error(ErrorKind::unsupported, fmt::format("[gguf] {} cannot be read", info.name));
  AffineBlock block;
  for (size_t at = 0; at < out.size(); at += info.block_elements) {
    unpack_block(type, data.data() + at / info.block_elements * info.block_bytes, block);
    for (size_t i = 0; i < info.block_elements; ++i) {
      const size_t g = i / info.group;
      // In double, so that the offset of a code book costs no accuracy.
      out[at + i] = static_cast<float>(static_cast<double>(block.scale[g]) * block.q[i] + block.bias[g]);
    }
  }
}

}  // namespace mlxk
