#include "models/vision/position_table.h"

#include <algorithm>
#include <cmath>

#include "mlx/ops.h"

namespace mlxk {
namespace {

/// The position of each of `count` patches of a side, in float32 as in the references.
std::vector<int> buckets(int count, int side, bool steps) {
  std::vector<float> boundaries;
  for (int i = 1; i < side; ++i) boundaries.push_back(static_cast<float>(i * (1.0 / side)));
  std::vector<int> found;
  for (int i = 0; i < count; ++i) {
    const auto patch = static_cast<float>(i), all = static_cast<float>(count);
    const float at = steps ? std::min(patch * (1.0F / all), 1.0F - 1e-6F) : patch / all;
    found.push_back(static_cast<int>(std::upper_bound(boundaries.begin(), boundaries.end(), at) - boundaries.begin()));
  }
  return found;
}

double cubic(double x, double a) {
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

}  // namespace

std::vector<float> resize_factors(int in, int out, Resampling how) {
  std::vector<float> factors(static_cast<size_t>(in) * static_cast<size_t>(out), 0);
  const double scale = double(in) / out;
  for (int i = 0; i < out; ++i) {
    const auto add = [&](int at, double factor) {
      const auto column = static_cast<size_t>(std::clamp(at, 0, in - 1));
      factors[static_cast<size_t>(i) * static_cast<size_t>(in) + column] += static_cast<float>(factor);
    };
    if (how == Resampling::bilinear_corners) {
      const double at = out > 1 ? i * (double(in - 1) / (out - 1)) : 0;
      const int low = static_cast<int>(at);
      add(low, 1 - (at - low));
      add(low + 1, at - low);
    } else if (how == Resampling::bilinear) {
      const double at = std::max(0.0, (i + 0.5) * scale - 0.5);
      const int low = static_cast<int>(at);
      add(low, 1 - (at - low));
      add(low + 1, at - low);
    } else if (how == Resampling::bicubic) {
      const double at = (i + 0.5) * scale - 0.5, low = std::floor(at);
      for (int k = -1; k <= 2; ++k) add(static_cast<int>(low) + k, cubic(at - low - k, -0.75));
    } else {
      const bool linear = how == Resampling::bilinear_antialias;
      const double stretch = std::max(scale, 1.0), support = (linear ? 1 : 2) * stretch, centre = (i + 0.5) * scale;
      const int begin = std::max(static_cast<int>(centre - support + 0.5), 0);
      const int end = std::min(static_cast<int>(centre + support + 0.5), in);
      std::vector<double> own;
      double sum = 0;
      for (int k = begin; k < end; ++k) {
        const double x = (k - centre + 0.5) / stretch;
        own.push_back(linear ? std::max(0.0, 1 - std::abs(x)) : cubic(x, -0.5));
        sum += own.back();
      }
      for (int k = begin; k < end; ++k) add(k, own[static_cast<size_t>(k - begin)] / sum);
    }
  }
  return factors;
}

mx::array resized_table(const mx::array& table, int rows, int columns, Resampling how) {
  int side = 1;
  while (side * side < table.shape(0)) ++side;
  const int dims = table.shape(1);
  if (rows == side && columns == side) return mx::astype(table, mx::float32);
  const std::vector<float> down = resize_factors(side, rows, how), across = resize_factors(side, columns, how);
  const mx::array d(down.data(), {rows, side}, mx::float32), a(across.data(), {columns, side}, mx::float32);
  const mx::array by_rows = mx::matmul(d, mx::reshape(mx::astype(table, mx::float32), {side, side * dims}));
  return mx::reshape(mx::matmul(a, mx::reshape(by_rows, {rows, side, dims})), {rows * columns, dims});
}

std::vector<int> bucket_positions(int rows, int columns, int side, bool steps) {
  const std::vector<int> down = buckets(rows, side, steps), across = buckets(columns, side, steps);
  std::vector<int> all;
  for (const int row : down) {
    for (const int column : across) all.push_back(row * side + column);
  }
  return all;
}

}  // namespace mlxk
