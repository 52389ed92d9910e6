#pragma once

#include <optional>
#include <vector>

#include "mlx/array.h"
#include "nn/activation.h"
#include "nn/layer_inputs.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/packed_block.h"
#include "nn/rope.h"

namespace mlxk {

/// The steps of a layer's attention, each a unit that a fast primitive can replace: models call these and nothing
/// finer.

/// A norm of queries, keys or values.
struct HeadNorm {
  HeadNorm(Norm norm, bool whole = false) : norm(std::move(norm)), whole(whole) {}
  HeadNorm(RmsNorm norm) : HeadNorm(Norm(std::move(norm))) {}
  HeadNorm(LayerNorm norm) : HeadNorm(Norm(std::move(norm))) {}

  Norm norm;  // of head_dim numbers; `whole`: of all heads side by side
  bool whole = false;
  std::optional<mx::array> factor;  // [heads, head_dim], after a norm of each head: for those that differ in it

  /// [B, L, heads * head_dim] → the same.
  mx::array operator()(const mx::array& x, int head_dim) const;
  /// The norm as an attention step takes it, of each head alone; nullopt where it is none of those.
  std::optional<NormWeights> weights() const;
};

/// Queries, keys and values of one layer on their way from the projections to attention: q [B, L, heads * head_dim], k
/// [B, L, kv_heads * head_dim] and v [B, L, kv_heads * value_dim], and the norms of each head that are still to come.
struct Qkv {
  mx::array q, k, v;
  int head_dim;
  std::optional<HeadNorm> q_norm = {}, k_norm = {};
  std::optional<mx::array> gate = {};  // [B, L, heads * value_dim or heads]: of what attention gives, not activated yet
  int value_dim = 0;                   // 0: head_dim
  bool reads = false;                  // k and v are not there: the cache has them, from another layer of this call
};

/// Norm, then the projections; with q_norm, k_norm and v_norm the heads are to be normed before rope.
struct NormQkv {
  std::optional<Norm> norm;
  Linear q;
  std::optional<Linear> k,
      v;  // no v: the values are the keys (before their norm); no k: another layer's cache has them
  std::optional<HeadNorm> q_norm = {}, k_norm = {};
  int head_dim;
  std::optional<HeadNorm> v_norm = {};
  int value_dim = 0;                // 0: head_dim
  bool gate_in_q = false;           // q gives for each head its queries and then its gate
  std::optional<Linear> gate = {};  // gives the gate
  int grouped_heads = 0;            // > 0: q gives for each kv head these many heads' queries, its key, its value
  PackedBlock packed = {};

  Qkv operator()(const mx::array& x) const;  // x [B, L, hidden]
};

/// Rope, cache append and attention.
struct Attention {
  std::optional<Rope> rope;                // absent: no positional encoding
  std::optional<HeadNorm> q_norm, k_norm;  // of each head, after rope
  AttentionScores scores;                  // the scale, soft cap and sinks
  MaskRequest mask = {};                   // the layer's window or chunk
  Activation gate = Activation::sigmoid;   // of Qkv::gate

  /// Returns [B, L, heads * value_dim]. `query_scale` [B or 1, 1, L, 1] is multiplied onto the queries.
  mx::array operator()(const Qkv& qkv, AttentionCache& cache, const LayerInputs& in,
                       const std::optional<mx::array>& query_scale = std::nullopt) const;
  /// The same with the mask made already.
  mx::array operator()(const Qkv& qkv, AttentionCache& cache, const AttentionMask& mask, const Positions& positions,
                       const std::optional<mx::array>& query_scale = std::nullopt) const;

 private:
  mx::array attended(const Qkv& qkv, AttentionCache& cache, const AttentionMask& mask, const Positions& positions,
                     const std::optional<mx::array>& query_scale) const;
  /// What the device is told of a step, but for the buffers.
  AttentionStep step_of(const Qkv& qkv, const AttentionMask& mask, const Positions& positions,
                        const std::optional<mx::array>& query_scale) const;
  /// All of it as one operation of the device.
  mx::array in_slots(AttentionStep step, const Qkv& qkv, AttentionCache& cache, const AttentionMask& mask,
                     const Positions& positions) const;
};

/// residual + multiplier · norm(out(in_norm(x))).
struct OutResidual {
  Linear out;
  std::optional<Norm> norm = std::nullopt;
  float multiplier = 1;
  std::optional<Norm> in_norm = std::nullopt;
  PackedBlock packed = {};

  mx::array operator()(const mx::array& x, const mx::array& residual) const;  // [B, L, in], [B, L, hidden]
};

/// The attention of a decoder layer from x to x with the residual added.
struct SelfAttention {
  NormQkv qkv;
  Attention attention;
  OutResidual out;

  /// x [B, L, hidden] → residual + attention, which is x unless given.
  mx::array operator()(const mx::array& x, AttentionCache& cache, const LayerInputs& in,
                       const std::optional<mx::array>& residual = std::nullopt) const {
    return out(attention(qkv(x), cache, in, in.query_scale), residual ? *residual : x);
  }
};

}  // namespace mlxk
