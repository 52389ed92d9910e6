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

  Norm norm;  // over head_dim numbers; `whole`: over all heads side by side
  bool whole = false;
  std::optional<mx::array> factor;  // [heads, head_dim], after a norm per head: for heads with different weights

  /// [B, L, heads * head_dim] → the same.
  mx::array operator()(const mx::array& x, int head_dim) const;
  /// The norm in the form that an attention step takes: per head; nullopt if it has another form.
  std::optional<NormWeights> weights() const;
};

/// Queries, keys and values of one layer between the projections and attention: q [B, L, heads * head_dim], k [B, L,
/// kv_heads * head_dim] and v [B, L, kv_heads * value_dim], and the head norms that are still to be applied.
struct Qkv {
  mx::array q, k, v;
  int head_dim;
  std::optional<HeadNorm> q_norm = {}, k_norm = {};
  std::optional<mx::array> gate = {};  // [B, L, heads * value_dim or heads]: of attention's output, not activated yet
  int value_dim = 0;                   // 0: head_dim
  bool reads = false;                  // k and v are absent: they are in another layer's cache
};

/// Norm, then the projections. With q_norm, k_norm and v_norm the heads are normalised before rope.
struct NormQkv {
  std::optional<Norm> norm;
  Linear q;
  std::optional<Linear> k, v;  // no v: the values are the keys before their norm; no k: a shared cache
  std::optional<HeadNorm> q_norm = {}, k_norm = {};
  int head_dim;
  std::optional<HeadNorm> v_norm = {};
  int value_dim = 0;                // 0: head_dim
  bool gate_in_q = false;           // q's output holds each head's queries, then its gate
  std::optional<Linear> gate = {};  // computes the gate
  int grouped_heads = 0;  // > 0: q's output holds, for each kv head, this many query heads, its key and its value
  PackedBlock packed = {};

  Qkv operator()(const mx::array& x) const;  // x [B, L, hidden]
};

/// Rope, cache append and attention.
struct Attention {
  std::optional<Rope> rope;                // absent: no positional encoding
  std::optional<HeadNorm> q_norm, k_norm;  // per head, after rope
  AttentionScores scores;                  // the scale, soft cap and sinks
  MaskRequest mask = {};                   // the layer's window or chunk size
  Activation gate = Activation::sigmoid;   // the activation of Qkv::gate

  /// Returns [B, L, heads * value_dim]. The queries are multiplied by `query_scale` [B or 1, 1, L, 1].
  mx::array operator()(const Qkv& qkv, AttentionCache& cache, const LayerInputs& in,
                       const std::optional<mx::array>& query_scale = std::nullopt) const;
  /// The same with a given mask.
  mx::array operator()(const Qkv& qkv, AttentionCache& cache, const AttentionMask& mask, const Positions& positions,
                       const std::optional<mx::array>& query_scale = std::nullopt) const;

 private:
  mx::array attended(const Qkv& qkv, AttentionCache& cache, const AttentionMask& mask, const Positions& positions,
                     const std::optional<mx::array>& query_scale) const;
  /// The parameters of a step for the device, without the buffers.
  AttentionStep step_of(const Qkv& qkv, const AttentionMask& mask, const Positions& positions,
                        const std::optional<mx::array>& query_scale) const;
  /// Runs the whole step as one operation of the device.
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

  /// x [B, L, hidden] → residual + attention; the residual is x unless given.
  mx::array operator()(const mx::array& x, AttentionCache& cache, const LayerInputs& in,
                       const std::optional<mx::array>& residual = std::nullopt) const {
    return out(attention(qkv(x), cache, in, in.query_scale), residual ? *residual : x);
  }
};

}  // namespace mlxk
