#include "nn/cache/kv_cache.h"

#include <algorithm>

#include "mlx/ops.h"

namespace mlxk {

mx::array KVCache::attend(const mx::array& queries, const mx::array& keys, const mx::array& values,
                          const AttentionScores& scores, const AttentionMask& mask, const Positions& positions) {
  std::vector<mx::array> all = append({keys, values}, positions);
  return scaled_attention(queries, all[0], all[1], scores, mask);
}

AttentionCache::Slots KVCache::reserve_slots(const Positions& positions, int kv_heads, int key_dim, int value_dim) {
  const auto& offsets = positions.offsets;
  // Room for all L tokens of every row, also for those past its length.
  int tokens = *std::max_element(offsets.begin(), offsets.end()) + positions.length;
  if (tokens > capacity()) {
    const auto sample = [&](int dim) { return mx::zeros({rows(), kv_heads, 1, dim}, mx::float32); };
    grow(tokens, {sample(key_dim), sample(value_dim)});
  }
  unshare();
  advance(positions);
  return {{&buffers()[0]}, {&buffers()[1]}};
}

}  // namespace mlxk
