#pragma once

#include <optional>
#include <string>

#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// softmax(scale · q kᵀ + mask) v on the CPU: q [B, heads, L, head_dim], k and v [B, kv_heads, T, head_dim] float32 with
/// contiguous tokens; mask as scaled_dot_product_attention takes it: mode "", "causal" (the last L of T) or "array"
/// (bool or additive float32, broadcast to [B, heads, L, T]). Returns [B, heads, L, head_dim]. A query's bits do not
/// depend on the queries beside it. One operation.
mx::array cpu_attention(const mx::array& q, const mx::array& k, const mx::array& v, float scale, const std::string& mode,
                        const std::optional<mx::array>& mask);

}  // namespace mlxk
