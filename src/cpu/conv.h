#pragma once

#include <array>
#include <cstdint>

#include "cpu/matmul.h"

namespace mlxk {

/// A 2-D convolution over channels-last arrays: x [batch, height, width, channels] → [batch, out height, out width,
/// out channels], each pair being of height and width. One dimension is a height of 1.
struct ConvShape {
  int64_t batch = 0, channels = 0, out_channels = 0;
  std::array<int64_t, 2> in{1, 1}, kernel{1, 1}, stride{1, 1}, padding{0, 0}, dilation{1, 1};
  int64_t groups = 1;  // channels and out_channels are multiples of it

  /// Output height and width; below one where the kernel is larger than the padded input.
  std::array<int64_t, 2> out() const;
  /// Each channel by itself.
  bool depthwise() const { return groups > 1 && groups == channels && groups == out_channels; }
  int64_t patch() const { return kernel[0] * kernel[1] * (channels / groups); }
};

/// y = x convolved with `weight`, whose rows are the output channels, [kernel height, kernel width, channels / groups]
/// each; if the convolution is depthwise, float32 [kernel height, kernel width, channels]; its bias is added. float32
/// sums, the same bits for a position whatever is computed with it; in `encode` rounded as multiply() does there, else
/// as in prefill. On all kernel threads; from one thread at a time. out() is at least one.
void convolve(const ConvShape& shape, const MatrixView& weight, const float* x, float* y, Phase phase = Phase::prefill);

}  // namespace mlxk
