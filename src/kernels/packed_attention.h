#pragma once

#include <optional>
#include <vector>

#include "cpu/rotation.h"
#include "kernels/device.h"
#include "mlx/array.h"

namespace mlxk {

/// Attention within each of several sequences that are packed one after the other; nothing is cached.
struct PackedAttention {
  mx::array q, k, v;         // [..., heads * head_dim], k and v [..., kv_heads * head_dim]: all tokens of all sequences
  std::vector<int> lengths;  // one per sequence; their sum is the number of tokens
  int head_dim;
  float scale;
  bool causal = false;             // a token sees no later tokens
  std::vector<int> attended = {};  // per sequence: the number of its first tokens that are attended to; empty: all
  int window = 0;                  // a token sees those less than `window` positions away; 0: all
  Rotation rotation = {};          // by a token's position in its sequence
  std::optional<NormWeights> q_norm = {}, k_norm = {};  // of each head, before the rotation
  /// [heads, 2 * n + 1] float32: added to a score by the key's distance behind the query, from -n to n; beyond, the
  /// nearest entry applies.
  std::optional<mx::array> distance_bias = {};
};

/// softmax(scale · q kᵀ + bias) v, in q's shape, by the device's own operation; nullopt if it has none.
std::optional<mx::array> packed_attention(const PackedAttention& attention);

}  // namespace mlxk
