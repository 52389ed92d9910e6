#include "kernels/cpu/convolution.h"

#include <fmt/format.h>

#include <limits>
#include <stdexcept>

#include "cpu/conv.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu_op.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace mlxk {

struct CpuConv : PackedLayer {
  CpuConv(MatrixWeights matrix, MatrixView view, ConvShape shape)
      : matrix(std::move(matrix)), view(view), shape(shape) {}

  MatrixWeights matrix;  // keeps the buffers
  MatrixView view;
  ConvShape shape;  // without batch and input size
};

namespace {

std::invalid_argument refusal(const std::string& why) { return std::invalid_argument("[conv] " + why); }

std::array<int64_t, 2> sizes(const std::pair<int, int>& pair, int least, const char* what) {
  if (pair.first < least || pair.second < least) {
    throw refusal(fmt::format("{} must be at least {}, got {} and {}", what, least, pair.first, pair.second));
  }
  return {pair.first, pair.second};
}

}  // namespace

Packed cpu_conv(const mx::array& weight, const std::optional<mx::array>& bias, const ConvOptions& options) {
  if (weight.ndim() != 4 || weight.size() == 0)
    throw refusal("the weight must be [out, height, width, in] and not empty");
  const int out = weight.shape(0);
  if (options.groups < 1 || out % options.groups != 0) {
    throw refusal(fmt::format("{} output channels do not make {} groups", out, options.groups));
  }
  if (bias && (bias->dtype() != mx::float32 || bias->shape() != mx::Shape{out})) {
    throw refusal(fmt::format("the bias must have {} float32 entries", out));
  }
  ConvShape shape;
  shape.channels = int64_t{weight.shape(3)} * options.groups;
  shape.out_channels = out;
  shape.kernel = {weight.shape(1), weight.shape(2)};
  shape.stride = sizes(options.stride, 1, "the stride");
  shape.padding = sizes(options.padding, 0, "the padding");
  shape.dilation = sizes(options.dilation, 1, "the dilation");
  shape.groups = options.groups;
  const int columns = static_cast<int>(weight.size() / static_cast<size_t>(out));
  mx::array rows = mx::reshape(weight, {out, columns});
  if (shape.depthwise()) rows = mx::transpose(mx::astype(rows, mx::float32));
  MatrixWeights matrix{mx::contiguous(rows), {}, {}, bias, out, columns};
  mx::eval(matrix.weight, bias.value_or(matrix.weight));
  const MatrixView view = matrix_view(matrix);
  return std::make_shared<CpuConv>(std::move(matrix), view, shape);
}

mx::array cpu_convolved(const mx::array& x, Packed packed) {
  ConvShape shape = static_cast<const CpuConv&>(*packed).shape;
  if (x.ndim() != 4 || x.dtype() != mx::float32 || x.shape(3) != shape.channels) {
    throw refusal(fmt::format("the input must be float32 [batch, height, width, {}]", shape.channels));
  }
  shape.batch = x.shape(0);
  shape.in = {x.shape(1), x.shape(2)};
  const auto out = shape.out();
  constexpr int64_t kMax = std::numeric_limits<int>::max();
  if (out[0] < 1 || out[1] < 1 || out[0] > kMax || out[1] > kMax) {
    throw refusal(fmt::format("a kernel of {}×{} does not fit into an input of {}×{}", shape.kernel[0], shape.kernel[1],
                              shape.in[0], shape.in[1]));
  }
  auto compute = [packed, shape, phase = current_phase()](const Arrays& in, Arrays& outputs) {
    static Scratch copy;
    convolve(shape, static_cast<const CpuConv&>(*packed).view, row_major(in[0], copy), outputs[0].data<float>(), phase);
  };
  mx::Shape result{x.shape(0), static_cast<int>(out[0]), static_cast<int>(out[1]),
                   static_cast<int>(shape.out_channels)};
  return mx::array(std::move(result), mx::float32, cpu_op("CpuConv", std::move(compute)), {x});
}

}  // namespace mlxk
