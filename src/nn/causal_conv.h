#pragma once

#include <optional>

#include "nn/activation.h"
#include "nn/cache/recurrent_cache.h"
#include "nn/conv.h"

namespace mlxk {

/// A short causal convolution, each channel by itself: a token sees itself and the `kernel - 1` before it.
class CausalConv1d {
 public:
  /// Takes `weight` [channels, kernel, 1], or [channels, 1, kernel] as PyTorch has it, and, with `bias`, `bias`
  /// [channels] at `path`; `activation` is that of what comes out.
  CausalConv1d(const WeightPath& path, int channels, int kernel, bool bias,
               std::optional<Activation> activation = std::nullopt);
  /// x [B, L, channels] → the same. State `index` of `cache` becomes the last `kernel - 1` of each row's tokens that
  /// count, [B, kernel - 1, channels].
  mx::array operator()(const mx::array& x, RecurrentCache& cache, int index, const Positions& positions) const;

 private:
  Conv1d conv_;
  int kernel_;
  std::optional<Activation> activation_;
};

/// Of each row of x [B, n + L, ...] the n entries that end with its last token that counts, [B, n, ...]: what a state
/// is where the row's tokens stand behind n older ones.
mx::array last_inputs(const mx::array& x, int n, const Positions& positions);

}  // namespace mlxk
