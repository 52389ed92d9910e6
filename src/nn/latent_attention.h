#pragma once

#include <optional>

#include "nn/attention.h"
#include "nn/mixture.h"
#include "nn/rope.h"

namespace mlxk {

/// Multi-head latent attention (DeepSeek-V2, https://arxiv.org/abs/2405.04434) in its absorbed form: a token's keys and
/// values of all heads come from one latent vector, and attention is computed on these vectors. The cache has of each
/// token the latent vector and behind it the part of the key that is rotated, KVCache(rows, latent).
struct LatentAttention {
  std::optional<Norm> norm;
  Linear q_in;  // the queries [heads * (nope + rope)], or what q_out makes them of
  std::optional<NormLinear> q_out;
  Linear kv;  // latent + rope
  Norm latent_norm;
  ExpertLinear embed_q;      // of each head [latent, nope]: a query as one of latent vectors
  ExpertLinear unembed_out;  // of each head [value, latent]: a sum of latent vectors as one of values
  std::optional<Rope> rope;  // of the last `rope_dim` numbers of queries and keys
  int rope_dim;
  Attention attention;  // without rope
  OutResidual out;
  PackedBlock packed = {};

  /// x [B, L, hidden] → residual + attention, which is x unless given.
  mx::array operator()(const mx::array& x, AttentionCache& cache, const LayerInputs& in,
                       const std::optional<mx::array>& residual = std::nullopt) const;
};

}  // namespace mlxk
