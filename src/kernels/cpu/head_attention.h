#pragma once

#include <vector>

#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// Attention without positions or masks, for encoders and cross-attention; heads are adjacent in a token. float32 on
/// the CPU, each one operation.

/// softmax(scale · q kᵀ) v: q [B, L, heads * dim], k and v [B, T, heads * dim] → [B, L, heads * dim].
mx::array cpu_head_attention(const mx::array& q, const mx::array& k, const mx::array& v, int heads, float scale);

/// x [1, T, heads * dim] as [1, heads, T, dim] of `type` (a float type), so that single queries read it sequentially.
mx::array cpu_by_heads(const mx::array& x, int heads, mx::Dtype type);

/// The same attention to precomputed keys and values, [1, heads, T, dim] each, from cpu_by_heads: row r of q [B, L,
/// heads * dim] sees keys[of[r]] and values[of[r]].
mx::array cpu_cross_attention(const mx::array& q, const std::vector<mx::array>& keys,
                              const std::vector<mx::array>& values, std::vector<int> of, float scale);

/// scale · q kᵀ of one row and one head: q [1, L, heads * dim], k as above → [L, T].
mx::array cpu_cross_scores(const mx::array& q, const mx::array& k, int head, float scale);

}  // namespace mlxk
