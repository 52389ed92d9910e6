#pragma once

#include <memory>
#include <optional>

#include "kernels/device.h"
#include "nn/weights.h"

namespace mlxk {

/// Convolutions over channels-last arrays, as encoders of sound (one dimension) and images (two) begin with them.
class Conv2d {
 public:
  /// Takes `weight` [out, kernel height, kernel width, in / groups] and, with `bias`, `bias` [out] at `path`.
  Conv2d(const WeightPath& path, int in, int out, std::pair<int, int> kernel, const ConvOptions& options, bool bias);
  mx::array operator()(const mx::array& x) const;  // [B, H, W, in] → [B, out H, out W, out]

 private:
  friend class Conv1d;
  Conv2d(mx::array weight, std::optional<mx::array> bias, const ConvOptions& options);

  mx::array weight_;
  std::optional<mx::array> bias_;
  ConvOptions options_;
  mutable Packed packed_;  // for the device, made on first use
};

class Conv1d {
 public:
  struct Options {
    int stride = 1, padding = 0, dilation = 1, groups = 1;
  };
  /// Takes `weight` [out, kernel, in / groups] and, with `bias`, `bias` [out] at `path`.
  Conv1d(const WeightPath& path, int in, int out, int kernel, const Options& options, bool bias);
  mx::array operator()(const mx::array& x) const;  // [B, L, in] → [B, out L, out]

 private:
  Conv2d conv_;  // of height 1
};

}  // namespace mlxk
