#include "nn/cache/attention_cache.h"

#include "base/error.h"
#include "kernels/cpu_attention.h"
#include "kernels/cpu_op.h"
#include "mlx/fast.h"
#include "nn/cache/batched_cache.h"

namespace mlxk {

mx::array scaled_attention(const mx::array& queries, const mx::array& keys, const mx::array& values, float scale,
                           const AttentionMask& mask) {
  if (cpu_is_default()) return cpu_attention(queries, keys, values, scale, mask.mode, mask.array);
  return mx::fast::scaled_dot_product_attention(queries, keys, values, scale, mask.mode, mask.array);
}

AttentionCache::Slots AttentionCache::reserve_slots(const Positions&, int, int) {
  throw Error(ErrorKind::internal, "[cache] it appends by itself");
}

std::unique_ptr<Cache> AttentionCache::batch(std::span<Cache* const> parts) const {
  return std::make_unique<BatchedAttentionCache>(parts);
}

void AttentionCache::advance(const Positions& positions) {
  for (int row = 0; row < rows(); ++row) positions_[row] += positions.lengths[row];
}

}  // namespace mlxk
