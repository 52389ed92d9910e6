#pragma once

#include <optional>

#include "nn/activation.h"
#include "nn/cache/recurrent_cache.h"
#include "nn/conv.h"

namespace mlxk {

/// A short causal depthwise convolution: a token sees itself and the `kernel - 1` tokens before it.
class CausalConv1d {
 public:
  /// Takes `weight` [channels, kernel, 1], or [channels, 1, kernel] in PyTorch's layout, and, with `bias`, `bias`
  /// [channels] at `path`; `activation` is applied to the result.
  CausalConv1d(const WeightPath& path, int channels, int kernel, bool bias,
               std::optional<Activation> activation = std::nullopt);
  /// x [B, L, channels] → the same shape. State `index` of `cache` becomes the last `kernel - 1` valid tokens of each
  /// row, [B, kernel - 1, channels].
  mx::array operator()(const mx::array& x, RecurrentCache& cache, int index, const Positions& positions) const;

 private:
  Conv1d conv_;
  int kernel_;
  std::optional<Activation> activation_;
};

/// For each row of x [B, n + L, ...], the n entries that end with its last valid token, [B, n, ...]: the new state, if
/// the row's tokens follow n older ones.
mx::array last_inputs(const mx::array& x, int n, const Positions& positions);

}  // namespace mlxk
