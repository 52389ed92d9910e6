// Written in vectors of 8, which the compiler maps to the instruction set's; on x86-64 compiled once more for AVX2.
#include "vision/resize_rows.h"

#include <algorithm>
#include <cstring>

namespace mlxk {

namespace {

using Lanes = int32_t __attribute__((vector_size(32)));
using EightBytes = uint8_t __attribute__((vector_size(8)));

#define MLXK_INLINE inline __attribute__((always_inline))

/// __builtin_convertvector is not used, because GCC turns it into eight single loads.
MLXK_INLINE void load(const uint8_t* from, Lanes& to) {
  int32_t lanes[8];
  for (int i = 0; i < 8; ++i) lanes[i] = from[i];
  std::memcpy(&to, lanes, sizeof lanes);
}

MLXK_INLINE uint8_t rounded(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kWeightBits, 0, 255)); }

constexpr int32_t kHalfWeight = 1 << (kWeightBits - 1);

MLXK_INLINE void resize_row_body(const uint8_t* row, const int32_t* begins, const int32_t* weights, int taps, int width,
                                 uint8_t* to) {
  for (int x = 0; x < width; ++x, to += 3) {
    const uint8_t* from = row + 3 * begins[x];
    Lanes sums[3] = {};
    for (int tap = 0; tap < taps; tap += kTapGroup, from += 3 * kTapGroup, weights += 3 * kTapGroup) {
      for (int i = 0; i < 3; ++i) {
        Lanes pixels, weight;
        load(from + 8 * i, pixels);
        std::memcpy(&weight, weights + 8 * i, sizeof weight);
        sums[i] += pixels * weight;
      }
    }
    int32_t lanes[24];
    std::memcpy(lanes, sums, sizeof lanes);
    for (int c = 0; c < 3; ++c) {
      int32_t sum = kHalfWeight;
      for (int i = c; i < 24; i += 3) sum += lanes[i];
      to[c] = rounded(sum);
    }
  }
}

/// 8 * kVectors bytes.
template <int kVectors>
MLXK_INLINE void blend(const uint8_t* rows, int64_t stride, const int32_t* weights, int taps, uint8_t* to) {
  Lanes sums[kVectors];
  for (auto& sum : sums) sum = Lanes{} + kHalfWeight;
  for (int tap = 0; tap < taps; ++tap, rows += stride) {
    const Lanes weight = Lanes{} + weights[tap];
    for (int i = 0; i < kVectors; ++i) {
      Lanes bytes;
      load(rows + 8 * i, bytes);
      sums[i] += bytes * weight;
    }
  }
  for (int i = 0; i < kVectors; ++i) {
    Lanes value = sums[i] >> kWeightBits;
    value = value < 0 ? Lanes{} : value;
    value = value > 255 ? Lanes{} + 255 : value;
    const auto bytes = __builtin_convertvector(value, EightBytes);
    std::memcpy(to + 8 * i, &bytes, sizeof bytes);
  }
}

MLXK_INLINE void blend_rows_body(const uint8_t* rows, int64_t stride, const int32_t* weights, int taps, int64_t bytes,
                                 uint8_t* to) {
  int64_t x = 0;
  for (; x + 64 <= bytes; x += 64) blend<8>(rows + x, stride, weights, taps, to + x);
  for (; x + 8 <= bytes; x += 8) blend<1>(rows + x, stride, weights, taps, to + x);
  for (; x < bytes; ++x) {
    int32_t sum = kHalfWeight;
    for (int tap = 0; tap < taps; ++tap) sum += weights[tap] * rows[x + tap * stride];
    to[x] = rounded(sum);
  }
}

#ifdef __x86_64__
__attribute__((target("avx2"))) void resize_row_avx2(const uint8_t* row, const int32_t* begins, const int32_t* weights,
                                                     int taps, int width, uint8_t* to) {
  resize_row_body(row, begins, weights, taps, width, to);
}

__attribute__((target("avx2"))) void blend_rows_avx2(const uint8_t* rows, int64_t stride, const int32_t* weights,
                                                     int taps, int64_t bytes, uint8_t* to) {
  blend_rows_body(rows, stride, weights, taps, bytes, to);
}

bool has_avx2() {
  static const bool has = __builtin_cpu_supports("avx2");
  return has;
}
#endif

}  // namespace

void resize_row(const uint8_t* row, const int32_t* begins, const int32_t* weights, int taps, int width, uint8_t* to) {
#ifdef __x86_64__
  if (has_avx2()) return resize_row_avx2(row, begins, weights, taps, width, to);
#endif
  resize_row_body(row, begins, weights, taps, width, to);
}

void blend_rows(const uint8_t* rows, int64_t stride, const int32_t* weights, int taps, int64_t bytes, uint8_t* to) {
#ifdef __x86_64__
  if (has_avx2()) return blend_rows_avx2(rows, stride, weights, taps, bytes, to);
#endif
  blend_rows_body(rows, stride, weights, taps, bytes, to);
}

#undef MLXK_INLINE

}  // namespace mlxk
