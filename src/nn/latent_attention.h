#pragma once

#include <optional>

#include "nn/attention.h"
#include "nn/mixture.h"
#include "nn/rope.h"

namespace mlxk {

/// Multi-head latent attention (DeepSeek-V2, https://arxiv.org/abs/2405.04434) in its absorbed form: the keys and
/// values of all heads are derived from one latent vector per token, and attention is computed on these vectors. The
/// cache holds each token's latent vector followed by the rotated part of the key, KVCache(rows, latent).
struct LatentAttention {
  std::optional<Norm> norm;
  Linear q_in;  // the queries [heads * (nope + rope)], or the input of q_out
  std::optional<NormLinear> q_out;
  Linear kv;  // latent + rope
  Norm latent_norm;
  ExpertLinear embed_q;      // per head [latent, nope]: maps a query to the latent space
  ExpertLinear unembed_out;  // per head [value, latent]: maps a sum of latent vectors to values
  std::optional<Rope> rope;  // for the last `rope_dim` numbers of queries and keys
  int rope_dim;
  Attention attention;  // without rope
  OutResidual out;
  PackedBlock packed = {};

  /// x [B, L, hidden] → residual + attention; the residual is x unless given.
  mx::array operator()(const mx::array& x, AttentionCache& cache, const LayerInputs& in,
                       const std::optional<mx::array>& residual = std::nullopt) const;

 private:
  /// The queries [B, L, heads * (latent + rope)] and keys [B, L, latent + rope] of those projections.
  std::pair<mx::array, mx::array> queries_and_keys(const mx::array& queries, const mx::array& projected,
                                                   const Positions& positions) const;
};

}  // namespace mlxk
