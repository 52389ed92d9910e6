#pragma once

#include "kernels/packed_attention.h"

namespace mlxk {

/// Attention within each of the sequences, float32 on the CPU, as one operation. A token's bits depend on its own
/// sequence alone.
mx::array cpu_packed_attention(PackedAttention attention);

/// The same without masks and norms, in the arithmetic of encoders, over plain buffers [tokens, heads * dim]; attended
/// as in PackedAttention. On libmlx's thread.
void attend_whole(const std::vector<int>& lengths, const std::vector<int>& attended, const float* q, const float* k,
                  const float* v, int64_t heads, int64_t kv_heads, int64_t dim, float scale, float* y);

}  // namespace mlxk
