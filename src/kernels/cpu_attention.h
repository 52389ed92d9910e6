#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cpu/rotation.h"
#include "kernels/cpu_ops.h"
#include "mlx/array.h"

namespace mlxk {

/// softmax(scale · q kᵀ + mask) v on the CPU: q [B, heads, L, head_dim], k and v [B, kv_heads, T, head_dim] float32
/// with contiguous tokens; mask as scaled_dot_product_attention takes it: mode "", "causal" (the last L of T) or
/// "array" (bool or additive float32, broadcast to [B, heads, L, T]). Returns [B, heads, L, head_dim]. One operation.
mx::array cpu_attention(const mx::array& q, const mx::array& k, const mx::array& v, float scale,
                        const std::string& mode, const std::optional<mx::array>& mask);

/// A layer's attention step: queries, keys and values as the projections give them, [B, L, heads * dim]. Row b's
/// tokens stand at positions[b] on, the keys before them are in the buffers.
struct CpuAttentionStep {
  mx::array q, k, v;
  int head_dim;
  float scale;
  std::vector<int> positions;  // of each row's first token
  std::vector<int> lengths;    // of each row, how many of the L tokens are kept
  int value_dim = 0;           // of the values' heads; 0: head_dim
  CpuRotation rotation = {};
  std::optional<CpuNorm> q_norm = {}, k_norm = {};                      // of each head, before the rotation
  std::optional<CpuNorm> post_rope_q_norm = {}, post_rope_k_norm = {};  // and after it
  float soft_cap = 0;                                                   // as AttentionProblem's
  int window = 0, keep = 0;  // a query sees the newest tokens and the first `keep`, `window` in all; 0: all
  bool reads = false;        // k and v are not there: the buffers have the L tokens already
  bool ring = false;  // the buffers hold `window` tokens: newer ones take the slots of older ones but the first `keep`
  std::optional<mx::array> rotary_positions = {};  // [B, L] or [axes, B, L] int32: what the rotation goes by instead
  std::optional<mx::array> query_scale = {};       // [B or 1, 1, L, 1] float32: multiplied onto the queries
  std::optional<mx::array> sinks = {};             // [heads] float32
  // [B or 1, heads or 1, L, T >= every position] bool or float32: instead of causality
  std::optional<mx::array> mask = {};
};

struct CpuAttended {
  mx::array out;  // [B, L, heads * value_dim]
  std::vector<mx::array> keys, values;
};

/// Norms, rotates, writes keys and values into the buffers [rows, kv_heads, capacity, head_dim] in place, whoever else
/// holds them (as append_in_place), and attends. Without buffers of values these are the first value_dim numbers of the
/// keys. The rows of all buffers, one after the other, are the B rows;
/// capacities may differ. One operation; its keys and values are the buffers after it, or, of several, the buffers
/// themselves: only operations that are started after it see what it wrote. Throws invalid for a mask that is too
/// small.
CpuAttended cpu_cached_attention(CpuAttentionStep step, const std::vector<mx::array>& keys,
                                 const std::vector<mx::array>& values);

}  // namespace mlxk
