#pragma once

#include <optional>

#include "mlx/array.h"
#include "nn/cache/attention_cache.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/positions.h"
#include "nn/rope.h"

namespace mlxk {

/// The steps of a decoder layer, each a unit that a fast primitive can replace: models call these and nothing finer.

/// Queries, keys and values of one layer on their way from the projections to attention: q [B, L, heads * head_dim], k
/// and v [B, L, kv_heads * head_dim], and the norms of each head that are still to come.
struct Qkv {
  mx::array q, k, v;
  int head_dim;
  std::optional<RmsNorm> q_norm, k_norm;
};

/// Norm, then the three projections; with q_norm and k_norm each head is to be normed before rope.
struct NormQkv {
  std::optional<Norm> norm;
  Linear q, k, v;
  std::optional<RmsNorm> q_norm, k_norm;
  int head_dim;
  mutable std::shared_ptr<const CpuLayer> layer = nullptr;  // all of it for the CPU, made at the first call

  Qkv operator()(const mx::array& x) const;  // x [B, L, hidden]
};

/// Rope, cache append and attention.
struct Attention {
  std::optional<Rope> rope;               // absent: no positional encoding
  std::optional<RmsNorm> q_norm, k_norm;  // of each head, after rope
  float scale;

  /// Returns [B, L, heads * head_dim]. `query_scale` [B or 1, 1, L, 1] is multiplied onto the queries.
  mx::array operator()(const Qkv& qkv, AttentionCache& cache, const AttentionMask& mask, const Positions& positions,
                       const std::optional<mx::array>& query_scale = std::nullopt) const;

 private:
  /// All of it as one operation.
  mx::array on_cpu(const Qkv& qkv, AttentionCache& cache, const AttentionMask& mask, const Positions& positions,
                   const std::optional<mx::array>& query_scale) const;
};

/// Output projection, a norm where there is one, times `multiplier`, plus the residual.
struct OutResidual {
  Linear out;
  std::optional<RmsNorm> norm;
  float multiplier = 1;
  mutable std::shared_ptr<const CpuLayer> layer = nullptr;

  mx::array operator()(const mx::array& x, const mx::array& residual) const;  // [B, L, in], [B, L, hidden]
};

enum class Activation { silu, gelu, gelu_tanh };  // numbered as CpuKernels::gated takes them

/// Reads config.json's name of an activation ("silu", "gelu_pytorch_tanh", …); throws unsupported for another.
Activation read_activation(const std::string& name);

/// The activation by itself.
mx::array activate(Activation activation, const mx::array& x);

/// softmax(scale · q kᵀ) v of whole sequences, every token seeing every other: q [B, L, heads * head_dim], k and v
/// [B, T, heads * head_dim] → [B, L, heads * head_dim].
mx::array attend_to_all(const mx::array& q, const mx::array& k, const mx::array& v, int heads, float scale);

/// The keys and values that a decoder sees of one encoder's output, [1, heads, T, head_dim]; on the CPU in float16,
/// since each of its tokens reads them all.
struct CrossKeys {
  mx::array keys, values;
};

/// Projections of an encoder's output [1, T, hidden] to the keys and values of one decoder layer.
struct CrossProjection {
  Linear k, v;
  int heads;

  CrossKeys operator()(const mx::array& x) const;
};

/// As attend_to_all, each row of q by its own keys: row r sees rows[r].
mx::array attend_across(const mx::array& q, const std::vector<const CrossKeys*>& rows, float scale);

/// scale · q kᵀ of one head, q [1, L, heads * head_dim] → [L, T].
mx::array cross_scores(const mx::array& q, const CrossKeys& seen, int head, float scale);

/// A linear map of normed vectors.
struct NormLinear {
  Norm norm;
  Linear linear;
  mutable std::shared_ptr<const CpuLayer> layer = nullptr;

  mx::array operator()(const mx::array& x) const;  // [..., in] → [..., out]
};

/// x + down(act(up(norm(x)))).
struct MlpResidual {
  Norm norm;
  Linear up, down;
  Activation activation = Activation::gelu;
  mutable std::shared_ptr<const CpuLayer> layer = nullptr;

  mx::array operator()(const mx::array& x) const;  // [B, L, hidden]
};

/// x + multiplier · post_norm(down(act(gate(norm(x))) · up(norm(x)))).
struct GatedMlpResidual {
  std::optional<RmsNorm> norm;
  Linear gate, up, down;
  std::optional<RmsNorm> post_norm;
  Activation activation = Activation::silu;
  float multiplier = 1;
  mutable std::shared_ptr<const CpuLayer> layer = nullptr;

  mx::array operator()(const mx::array& x) const;  // [B, L, hidden]
};

}  // namespace mlxk
