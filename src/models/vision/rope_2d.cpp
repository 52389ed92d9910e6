#include "models/vision/rope_2d.h"

#include <cmath>

#include "kernels/patch_rotation.h"
#include "mlx/ops.h"

namespace mlxk {

PatchRotation::PatchRotation(const std::vector<float>& angles, int patches, Pairing pairing)
    : cos_(0.0F), sin_(0.0F), pairing_(pairing) {
  std::vector<float> cosines, sines;
  for (const float angle : angles) {
    cosines.push_back(std::cos(angle));
    sines.push_back(std::sin(angle));
  }
  const mx::Shape shape{1, patches, 1, static_cast<int>(angles.size()) / patches};
  cos_ = mx::array(cosines.data(), shape, mx::float32);
  sin_ = mx::array(sines.data(), shape, mx::float32);
}

mx::array PatchRotation::operator()(const mx::array& x, int head_dim) const {
  const int patches = x.shape(1), heads = x.shape(2) / head_dim, half = head_dim / 2;
  // The pairs' first numbers and their second ones, [1, patches, heads, head_dim / 2].
  const int groups = pairing_ == Pairing::quarters ? 2 : 1, own = half / groups;
  if (auto own = rotate_patches(x, cos_, sin_, groups, pairing_ == Pairing::neighbours)) return *own;
  const bool apart = pairing_ != Pairing::neighbours;
  const mx::array pairs =
      mx::reshape(x, apart ? mx::Shape{patches, heads, groups, 2, own} : mx::Shape{patches, heads, 1, half, 2});
  const int axis = apart ? 3 : 4;
  const auto member = [&](int i) {
    mx::Shape low(5, 0), high = pairs.shape();
    low[axis] = i;
    high[axis] = i + 1;
    return mx::reshape(mx::slice(pairs, low, high), {1, patches, heads, half});
  };
  const mx::array a = member(0), b = member(1), cos = mx::astype(cos_, x.dtype()), sin = mx::astype(sin_, x.dtype());
  const mx::array first = mx::subtract(mx::multiply(a, cos), mx::multiply(b, sin));
  const mx::array second = mx::add(mx::multiply(b, cos), mx::multiply(a, sin));
  const auto back = [&](const mx::array& y) {
    return apart ? mx::reshape(y, {patches, heads, groups, own}) : mx::reshape(y, {patches, heads, 1, half});
  };
  return mx::reshape(mx::stack({back(first), back(second)}, apart ? 3 : 4), x.shape());
}

std::vector<PatchPlace> grid_places(int rows, int columns) { return merged_places(rows, columns, 1); }

std::vector<PatchPlace> merged_places(int rows, int columns, int merge) {
  std::vector<PatchPlace> places;
  for (int top = 0; top < rows; top += merge) {
    for (int left = 0; left < columns; left += merge) {
      for (int row = 0; row < merge; ++row) {
        for (int column = 0; column < merge; ++column) places.push_back({top + row, left + column});
      }
    }
  }
  return places;
}

std::vector<float> split_angles(const std::vector<PatchPlace>& places, int head_dim, double theta) {
  const int quarter = head_dim / 4;
  std::vector<float> steps, angles;
  for (int i = 0; i < quarter; ++i) steps.push_back(static_cast<float>(1 / std::pow(theta, 4.0 * i / head_dim)));
  for (const auto& place : places) {
    for (const float step : steps) angles.push_back(static_cast<float>(place.row) * step);
    for (const float step : steps) angles.push_back(static_cast<float>(place.column) * step);
  }
  return angles;
}

}  // namespace mlxk
