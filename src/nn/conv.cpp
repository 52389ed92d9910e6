#include "nn/conv.h"

#include "mlx/ops.h"

namespace mlxk {
namespace {

mx::array take_weight(const WeightPath& path, const mx::Shape& shape) {
  return path.weights().take_as_stored((path / "weight").path(), shape);
}

std::optional<mx::array> take_bias(const WeightPath& path, int out, bool wanted) {
  return wanted ? std::optional(path.take("bias", {out})) : std::nullopt;
}

}  // namespace

Conv2d::Conv2d(mx::array weight, std::optional<mx::array> bias, const ConvOptions& options)
    : weight_(std::move(weight)), bias_(std::move(bias)), options_(options) {}

Conv2d::Conv2d(const WeightPath& path, int in, int out, std::pair<int, int> kernel, const ConvOptions& options,
               bool bias)
    : Conv2d(take_weight(path, {out, kernel.first, kernel.second, in / options.groups}), take_bias(path, out, bias),
             options) {}

mx::array Conv2d::operator()(const mx::array& x) const {
  if (const LayerOps& ops = layer_ops(); ops.conv) {
    if (!packed_) packed_ = ops.pack_conv(weight_, bias_, options_);
    if (packed_) return ops.conv(x, packed_);
  }
  const mx::array y = mx::conv2d(x, mx::astype(weight_, x.dtype()), options_.stride, options_.padding,
                                 options_.dilation, options_.groups);
  return bias_ ? mx::add(y, *bias_) : y;
}

Conv1d::Conv1d(const WeightPath& path, int in, int out, int kernel, const Options& options, bool bias)
    : conv_(mx::expand_dims(take_weight(path, {out, kernel, in / options.groups}), 1), take_bias(path, out, bias),
            {{1, options.stride}, {0, options.padding}, {1, options.dilation}, options.groups}) {}

mx::array Conv1d::operator()(const mx::array& x) const { return mx::squeeze(conv_(mx::expand_dims(x, 1)), 1); }

}  // namespace mlxk
