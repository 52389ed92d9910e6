#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <optional>

#include "kernels/device.h"
#include "mlx/fast.h"
#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"

namespace mlxk {

/// Weights of every packing, and the float32 sums that kernels are compared with.

inline float relative_error(const mx::array& y, const mx::array& exact) {
  const auto a = mx::astype(y, mx::float32), b = mx::astype(exact, mx::float32);
  return mx::divide(mx::max(mx::abs(mx::subtract(a, b))), mx::max(mx::abs(b))).item<float>();
}

/// The largest error that rounding to the type explains.
inline float tolerance(mx::Dtype type) { return type == mx::float32 ? 3e-5F : type == mx::float16 ? 1e-3F : 6e-3F; }

inline mx::array normal(mx::Shape shape, mx::Dtype type) {
  return mx::astype(mx::random::normal(std::move(shape)), type);
}

inline MatrixWeights packed(int rows, int columns, int bits, int group, mx::Dtype scales) {
  const auto parts = mx::quantize(normal({rows, columns}, scales), group, bits);
  return {parts[0], parts[1], parts[2], std::nullopt, rows, columns, bits, group};
}

inline MatrixWeights mxfp4(int rows, int columns) {
  const auto parts = mx::quantize(normal({rows, columns}, mx::bfloat16), 32, 4, "mxfp4");
  return {parts[0], parts[1], std::nullopt, std::nullopt, rows, columns, 4, 32};
}

inline MatrixWeights plain(int rows, int columns) {
  return {normal({rows, columns}, mx::bfloat16), std::nullopt, std::nullopt, std::nullopt, rows, columns};
}

inline mx::array unpacked(const MatrixWeights& m) {
  if (m.bits == 0) return mx::astype(m.weight, mx::float32);
  if (!m.biases)
    return mx::dequantize(m.weight, *m.scales, std::nullopt, m.group, m.bits, "mxfp4", std::nullopt, mx::float32);
  return mx::dequantize(m.weight, mx::astype(*m.scales, mx::float32), mx::astype(*m.biases, mx::float32), m.group,
                        m.bits);
}

/// In float32, by sums of products: no matrix unit rounds.
inline mx::array product(const mx::array& x, const MatrixWeights& m) {
  const auto a = mx::expand_dims(mx::astype(x, mx::float32), -2);  // [..., 1, columns]
  auto y = mx::sum(mx::multiply(a, unpacked(m)), -1);
  return m.bias ? mx::add(y, mx::astype(*m.bias, mx::float32)) : y;
}

inline mx::array normed(const mx::array& x, const std::optional<NormWeights>& norm) {
  if (!norm) return x;
  const auto wide = mx::astype(x, mx::float32);
  return mx::astype(mx::fast::rms_norm(wide, mx::astype(norm->weight, mx::float32), norm->eps), x.dtype());
}

}  // namespace mlxk
