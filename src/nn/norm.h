#pragma once

#include <optional>
#include <utility>
#include <variant>

#include "kernels/device.h"
#include "mlx/array.h"
#include "nn/weights.h"

namespace mlxk {

/// Root mean square norm over the last axis.
class RmsNorm {
 public:
  /// Takes `weight` [dims] at `path`; with `plus_one` the factor is 1 + weight (Gemma).
  RmsNorm(const WeightPath& path, int dims, float eps, bool plus_one = false);
  /// A norm without weights.
  RmsNorm(int dims, float eps);
  mx::array operator()(const mx::array& x) const;  // [..., dims], same shape out
  NormWeights weights() const { return {weight_, eps_}; }

 private:
  mx::array weight_;
  float eps_;
  bool plain_ = false;
};

/// Layer norm: by mean and variance over the last axis.
class LayerNorm {
 public:
  /// Takes `weight` and, with `bias`, `bias` [dims] at `path`; with `plus_one` the factor is 1 + weight (Nemotron).
  LayerNorm(const WeightPath& path, int dims, float eps, bool bias = true, bool plus_one = false);
  /// A norm without weight and bias.
  LayerNorm(int dims, float eps);
  mx::array operator()(const mx::array& x) const;  // [..., dims], same shape out
  NormWeights weights() const { return {weight_, eps_, true, bias_}; }

 private:
  mx::array weight_;
  std::optional<mx::array> bias_;
  float eps_;
  bool plain_ = false;
};

/// Either norm, as blocks take it.
class Norm {
 public:
  Norm(RmsNorm norm) : norm_(std::move(norm)) {}
  Norm(LayerNorm norm) : norm_(std::move(norm)) {}
  mx::array operator()(const mx::array& x) const {
    return std::visit([&](const auto& norm) { return norm(x); }, norm_);
  }
  NormWeights weights() const {
    return std::visit([](const auto& norm) { return norm.weights(); }, norm_);
  }

 private:
  std::variant<RmsNorm, LayerNorm> norm_;
};

}  // namespace mlxk
