#include "nn/cache/kv_cache.h"

#include "mlx/fast.h"

namespace mlxk {

mx::array KVCache::attend(const mx::array& queries, const mx::array& keys, const mx::array& values, float scale,
                          const AttentionMask& mask, const Positions& positions) {
  std::vector<mx::array> all = append({keys, values}, positions);
  return mx::fast::scaled_dot_product_attention(queries, all[0], all[1], scale, mask.mode, mask.array);
}

}  // namespace mlxk
