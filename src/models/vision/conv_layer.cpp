#include "models/vision/conv_layer.h"

#include <algorithm>

#include "mlx/ops.h"
#include "models/vision/parts.h"

namespace mlxk {
namespace {

/// A convolution without padding: the input is padded beforehand.
Conv2d make_conv(const WeightPath& path, int in, int out, int side, const ConvLayerOptions& o) {
  put_channels_last(path, in / o.groups, side, side);
  return Conv2d(path, in, out, {side, side}, {.stride = {o.stride, o.stride}, .groups = o.groups}, o.bias);
}

}  // namespace

ConvLayer::ConvLayer(const WeightPath& path, int in, int out, int side, const ConvLayerOptions& options)
    : side_(side),
      options_(options),
      flops_(2.0 * side * side * in / options.groups * out),
      conv_(make_conv(path, in, out, side, options)) {}

mx::array ConvLayer::operator()(const mx::array& x, std::vector<mx::array>& stages) const {
  const int stride = options_.stride;
  const auto outputs = [&](int size) { return (size + stride - 1) / stride; };
  const auto padding = [&](int size) {
    const int all = std::max((outputs(size) - 1) * stride + side_ - size, 0);
    const int before = options_.same ? all / 2 : side_ / 2;
    return std::pair(before, std::max(all - before, 0));
  };
  const int rows = outputs(x.shape(1)), columns = outputs(x.shape(2));
  mx::array padded = x;
  if (side_ > 1) padded = mx::pad(x, {{0, 0}, padding(x.shape(1)), padding(x.shape(2)), {0, 0}});
  const int piece = std::max(1, static_cast<int>(kFlopsOfAPiece / (flops_ * columns)));
  if (piece >= rows) return conv_(padded);
  std::vector<mx::array> parts;
  for (int begin = 0; begin < rows; begin += piece) {
    const int end = std::min(rows, begin + piece);
    const mx::array own =
        mx::slice(padded, {0, begin * stride, 0, 0}, {1, (end - 1) * stride + side_, padded.shape(2), padded.shape(3)});
    parts.push_back(conv_(own));
    stages.push_back(parts.back());
  }
  return mx::concatenate(parts, 1);
}

int outputs_of(const WeightPath& path) {
  const auto found = path.weights().tensors().find((path / "weight").path());
  return found == path.weights().tensors().end() || found->second.ndim() == 0 ? 1 : found->second.shape(0);
}

void put_channels_last_as(const WeightPath& path, const WeightPath& like) {
  auto& tensors = path.weights().tensors();
  const auto weight = tensors.find((path / "weight").path()), other = tensors.find((like / "weight").path());
  if (weight == tensors.end() || other == tensors.end()) return;
  if (weight->second.ndim() != 4 || other->second.ndim() != 4) return;
  if (other->second.shape(2) != other->second.shape(3)) return;  // [out, height, width, in]
  weight->second = mx::contiguous(mx::transpose(weight->second, {0, 2, 3, 1}));
}

}  // namespace mlxk
