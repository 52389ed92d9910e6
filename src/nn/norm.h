#pragma once

#include <optional>

#include "kernels/cpu_ops.h"
#include "mlx/array.h"
#include "nn/weights.h"

namespace mlxk {

/// Root mean square norm over the last axis.
class RmsNorm {
 public:
  /// Takes `weight` [dims] at `path`; with `plus_one` the factor is 1 + weight (Gemma).
  RmsNorm(const WeightPath& path, int dims, float eps, bool plus_one = false);
  mx::array operator()(const mx::array& x) const;  // [..., dims], same shape out
  CpuNorm cpu() const { return {weight_, eps_}; }

 private:
  mx::array weight_;
  float eps_;
};

/// Norm by mean and variance over the last axis.
class LayerNorm {
 public:
  /// Takes `weight` and, with `bias`, `bias` [dims] at `path`.
  LayerNorm(const WeightPath& path, int dims, float eps, bool bias = true);
  mx::array operator()(const mx::array& x) const;  // [..., dims], same shape out

 private:
  mx::array weight_;
  std::optional<mx::array> bias_;
  float eps_;
};

}  // namespace mlxk
