#pragma once

#include <optional>
#include <vector>

#include "nn/attention.h"
#include "nn/cache/cross_cache.h"
#include "nn/layer_inputs.h"

namespace mlxk {

/// The attention of a decoder's tokens to encoded images or prompts.
struct CrossAttention {
  NormQkv query;  // without keys and values
  Linear key, value;
  std::optional<HeadNorm> key_norm;
  AttentionScores scores;

  /// Adds the call's images to `cache`, whose rows it advances, and returns what each token of the call sees. `type` is
  /// the activations'.
  std::vector<CrossCache::Seen> update(CrossCache& cache, const LayerInputs& in, mx::Dtype type) const;
  /// x [B, L, hidden] → [B, L, heads * head_dim]: attention of the tokens that see something, run by run, so that a
  /// row's bits do not depend on the others; zeros for the rest.
  mx::array operator()(const mx::array& x, const std::vector<CrossCache::Seen>& seen) const;

 private:
  mx::array by_heads(const mx::array& x) const;
};

/// `y` for the tokens that see something, `x` for the others.
mx::array where_seen(const std::vector<CrossCache::Seen>& seen, const mx::array& y, const mx::array& x);

}  // namespace mlxk
