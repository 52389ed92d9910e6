#pragma once

#include "nn/cache/recurrent_cache.h"
#include "nn/norm.h"
#include "nn/positions.h"
#include "nn/weights.h"

namespace mlxk {

/// The gated delta rule (https://arxiv.org/abs/2412.06464): each head has a state S [value_dim, key_dim]. A token with
/// a unit key k and a unit query q computes
///   S ← S · decay, then S ← S + beta · (v − S k) kᵀ, and returns S q / √key_dim, with decay = exp(−exp(A_log) ·
///   softplus(a + dt_bias)) and beta = beta_scale · sigmoid(b).
class GatedDelta {
 public:
  struct Dims {
    int key_heads, value_heads, key_dim, value_dim;  // each key head is shared by value_heads / key_heads neighbours
    bool by_channel = false;  // a decay per number of a key (Kimi Delta Attention), else per head
    float beta_scale = 1;     // 2 lets beta range from 0 to 2 (https://arxiv.org/abs/2411.12537)
  };
  /// A call's tokens after the projections and the convolution.
  struct Inputs {
    mx::array q, k;  // [B, L, key_heads * key_dim]
    mx::array v;     // [B, L, value_heads * value_dim]
    mx::array a;     // [B, L, value_heads], by_channel [B, L, value_heads * key_dim]
    mx::array b;     // [B, L, value_heads]
  };

  /// Takes `A_log` [value_heads] and `dt_bias`, with as many numbers as a token's `a`, at `path`.
  GatedDelta(const WeightPath& path, const Dims& dims);
  /// Returns [B, L, value_heads * value_dim]. State `index` of `cache`, [B, value_heads, value_dim, key_dim] float32,
  /// becomes the state after the valid tokens of each row.
  mx::array operator()(const Inputs& in, RecurrentCache& cache, int index, const Positions& positions) const;

 private:
  Dims dims_;
  mx::array rate_, dt_bias_;  // −exp(A_log) [value_heads, 1], and dt_bias [value_heads, 1 or key_dim]
  RmsNorm unit_;              // keys and queries times √key_dim
};

}  // namespace mlxk
