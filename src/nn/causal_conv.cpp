#include "nn/causal_conv.h"

#include <vector>

#include "mlx/ops.h"

namespace mlxk {
namespace {

/// Converts PyTorch's layout to libmlx's; the numbers are in the same order.
const WeightPath& channels_last(const WeightPath& path, int channels, int kernel) {
  const auto found = path.weights().tensors().find((path / "weight").path());
  if (found != path.weights().tensors().end() && found->second.shape() == mx::Shape{channels, 1, kernel}) {
    found->second = mx::reshape(found->second, {channels, kernel, 1});
  }
  return path;
}

}  // namespace

CausalConv1d::CausalConv1d(const WeightPath& path, int channels, int kernel, bool bias,
                           std::optional<Activation> activation)
    : conv_(channels_last(path, channels, kernel), channels, channels, kernel, {.groups = channels}, bias),
      kernel_(kernel),
      activation_(std::move(activation)) {}

mx::array CausalConv1d::operator()(const mx::array& x, RecurrentCache& cache, int index,
                                   const Positions& positions) const {
  const int before = kernel_ - 1;
  const auto& state = cache.state(index);
  const mx::array seen =
      mx::concatenate({state ? *state : mx::zeros({x.shape(0), before, x.shape(2)}, x.dtype()), x}, 1);
  cache.set_state(index, last_inputs(seen, before, positions));
  const mx::array y = conv_(seen);
  return activation_ ? activate(*activation_, y) : y;
}

mx::array last_inputs(const mx::array& x, int n, const Positions& positions) {
  if (positions.length == 1 && positions.lengths == std::vector<int>(positions.lengths.size(), 1)) {
    mx::Shape begin(x.ndim(), 0);
    begin[1] = 1;
    return mx::slice(x, begin, x.shape());
  }
  std::vector<int> places;
  for (const int length : positions.lengths) {
    for (int i = 0; i < n; ++i) places.push_back(length + i);
  }
  mx::Shape shape(x.ndim(), 1);
  shape[0] = positions.rows();
  shape[1] = n;
  return mx::take_along_axis(x, mx::array(places.begin(), shape, mx::int32), 1);  // a view would keep all of x alive
}

}  // namespace mlxk
