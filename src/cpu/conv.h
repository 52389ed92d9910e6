#pragma once

#include <array>
#include <cstdint>

#include "cpu/matmul.h"

namespace mlxk {

/// A 2-D convolution over channels-last arrays: x [batch, height, width, channels] → [batch, out height, out width, out
/// channels]; each pair is (height, width). A 1-D convolution has height 1.
struct ConvShape {
  int64_t batch = 0, channels = 0, out_channels = 0;
  std::array<int64_t, 2> in{1, 1}, kernel{1, 1}, stride{1, 1}, padding{0, 0}, dilation{1, 1};
  int64_t groups = 1;  // channels and out_channels are multiples of it

  /// Output height and width; below one if the kernel is larger than the padded input.
  std::array<int64_t, 2> out() const;
  /// Whether each channel is convolved separately.
  bool depthwise() const { return groups > 1 && groups == channels && groups == out_channels; }
  int64_t patch() const { return kernel[0] * kernel[1] * (channels / groups); }
};

/// y = x convolved with `weight` plus its bias. The weight's rows are the output channels, [kernel height, kernel
/// width, channels / groups] each; for a depthwise convolution it is float32 [kernel height, kernel width, channels].
/// Sums are float32, with the same bits for a position whatever is computed beside it; in `encode` they are rounded as
/// in multiply(), else as in prefill. Runs on all kernel threads; call it from one thread at a time. out() is at least
/// one.
void convolve(const ConvShape& shape, const MatrixView& weight, const float* x, float* y, Phase phase = Phase::prefill);

}  // namespace mlxk
