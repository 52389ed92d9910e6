#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cpu/rotation.h"
#include "kernels/cpu/ops.h"
#include "mlx/array.h"

namespace mlxk {

/// softmax(scale · q kᵀ + mask) v on the CPU: q [B, heads, L, head_dim], k and v [B, kv_heads, T, head_dim] float32
/// with contiguous tokens; mask as in scaled_dot_product_attention: mode "", "causal" (the last L of T) or "array"
/// (bool or additive float32, broadcast to [B, heads, L, T]). Returns [B, heads, L, head_dim]. One operation.
mx::array cpu_attention(const mx::array& q, const mx::array& k, const mx::array& v, float scale,
                        const std::string& mode, const std::optional<mx::array>& mask);

/// Norms, rotates, writes keys and values into the buffers [rows, kv_heads, capacity, head_dim] in place, even if
/// others hold them (as append_in_place), and attends. Without value buffers the values are the first value_dim numbers
/// of the keys. The rows of all buffers together, in order, are the B rows; capacities may differ. One operation; the
/// keys and values it returns are the buffers after the write, or, if there are several, the buffers themselves: only
/// operations started later see the new content. Throws invalid for a mask that is too small.
AttentionResult cpu_cached_attention(AttentionStep step, const std::vector<mx::array>& keys,
                                     const std::vector<mx::array>& values);

}  // namespace mlxk
