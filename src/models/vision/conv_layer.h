#pragma once

#include <vector>

#include "nn/conv.h"

namespace mlxk {

/// The pieces of a tower's work, in order (MediaEncoder).
using Stages = std::vector<mx::array>;

/// Makes `x` the next piece of the work.
inline mx::array staged(const mx::array& x, Stages& stages) {
  stages.push_back(x);
  return x;
}

struct ConvLayerOptions {
  int stride = 1;
  int groups = 1;
  bool same = false;  // padded as by TensorFlow's "same": an odd amount has the extra one below and on the right
  bool bias = true;
};

/// A convolution of a convolutional tower. Kernels are squares with an odd side. The input is padded by half a kernel.
class ConvLayer {
 public:
  /// Takes `weight`, in PyTorch's order or MLX's (put_channels_last), and `bias` at `path`.
  ConvLayer(const WeightPath& path, int in, int out, int side, const ConvLayerOptions& options = {});
  /// x [1, H, W, in] → [1, ceil(H / stride), ceil(W / stride), out]. Appends intermediate arrays to `stages`, so that
  /// no piece of the work is long.
  mx::array operator()(const mx::array& x, Stages& stages) const;

 private:
  int side_;
  ConvLayerOptions options_;
  double flops_;  // per output position
  Conv2d conv_;
};

/// The number of outputs of the layer at `path`. 1 if it has no weight; taking the weight then reports it as missing.
int outputs_of(const WeightPath& path);

/// Converts `weight` at `path` to MLX's order if the weight at `like` is in PyTorch's. For kernels whose shape does not
/// show the order, such as 3 × 3 with three channels. The kernels at `like` have a side of 3 or more and a number of
/// channels other than their side.
void put_channels_last_as(const WeightPath& path, const WeightPath& like);

}  // namespace mlxk
