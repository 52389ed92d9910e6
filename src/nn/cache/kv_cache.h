#pragma once

#include "nn/cache/growing_cache.h"

namespace mlxk {

/// Keys and values of every token, in the activations' type.
class KVCache : public GrowingCache {
 public:
  using GrowingCache::GrowingCache;

  std::string_view kind() const override { return "full"; }
  std::unique_ptr<Cache> snapshot() const override { return std::unique_ptr<Cache>(new KVCache(*this)); }
  mx::array attend(const mx::array& queries, const mx::array& keys, const mx::array& values, float scale,
                   const AttentionMask& mask, const Positions& positions) override;
  std::optional<Slots> reserve_slots(const Positions& positions, int kv_heads, int head_dim) override;

 protected:
  std::unique_ptr<GrowingCache> like() const override { return std::make_unique<KVCache>(0); }
};

}  // namespace mlxk
