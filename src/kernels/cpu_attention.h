#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernels/cpu_ops.h"
#include "mlx/array.h"

namespace mlxk {

/// softmax(scale · q kᵀ + mask) v on the CPU: q [B, heads, L, head_dim], k and v [B, kv_heads, T, head_dim] float32 with
/// contiguous tokens; mask as scaled_dot_product_attention takes it: mode "", "causal" (the last L of T) or "array"
/// (bool or additive float32, broadcast to [B, heads, L, T]). Returns [B, heads, L, head_dim]. One operation.
mx::array cpu_attention(const mx::array& q, const mx::array& k, const mx::array& v, float scale, const std::string& mode,
                        const std::optional<mx::array>& mask);

/// How heads are rotated by their position: pair i turns by steps[i] radians a token.
struct CpuRotation {
  std::vector<float> steps;  // of the first 2 * steps.size() numbers of a head; empty: no rotation
  float input_scale = 1;     // of those numbers
  bool traditional = false;  // pairs of neighbours, else of halves
};

/// A layer's attention step: queries, keys and values as the projections give them, [B, L, heads * head_dim].
struct CpuAttentionStep {
  mx::array q, k, v;
  int head_dim;
  std::optional<CpuNorm> q_norm, k_norm;  // of each head, before the rotation
  CpuRotation rotation;
  float scale;
  std::vector<int> positions;  // of each row's first token
  std::vector<int> lengths;    // of each row, how many of the L tokens are kept
  std::vector<int> slots;      // where each row's first token goes in the buffers
  std::vector<int> tokens;     // slots [0, tokens) that each row attends to, causally
};

struct CpuAttended {
  mx::array out;  // [B, L, heads * head_dim]
  std::vector<mx::array> keys, values;
};

/// Norms, rotates, writes keys and values into the buffers [rows, kv_heads, capacity, head_dim] in place, whoever else
/// holds them (as append_in_place), and attends. The rows of all buffers, one after the other, are the B rows; capacities
/// may differ. One operation; its keys and values are the buffers after it.
CpuAttended cpu_cached_attention(CpuAttentionStep step, const std::vector<mx::array>& keys,
                                 const std::vector<mx::array>& values);

}  // namespace mlxk
