#pragma once

#include <cstdint>

namespace mlxk {

constexpr int kWeightBits = 22;  // of a weight behind the point, as in Pillow
constexpr int kTapGroup = 8;     // the number of taps in a row is a multiple of this

/// Computes one row of RGB pixels from another. Pixel x is the sum over i < 3 * taps of weights[3 * taps * x + i] times
/// the byte row[3 * begins[x] + i], by channel: each weight is stored three times. `taps` is a multiple of kTapGroup.
void resize_row(const uint8_t* row, const int32_t* begins, const int32_t* weights, int taps, int width, uint8_t* to);

/// Computes one row of `bytes` bytes from `taps` rows, `stride` bytes apart.
void blend_rows(const uint8_t* rows, int64_t stride, const int32_t* weights, int taps, int64_t bytes, uint8_t* to);

}  // namespace mlxk
