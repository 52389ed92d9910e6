#include "nn/cache/kv_cache.h"

namespace mlxk {

mx::array KVCache::attend(const mx::array& queries, const mx::array& keys, const mx::array& values, float scale,
                          const AttentionMask& mask, const Positions& positions) {
  std::vector<mx::array> all = append({keys, values}, positions);
  return scaled_attention(queries, all[0], all[1], scale, mask);
}

}  // namespace mlxk
