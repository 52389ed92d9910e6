#pragma once

#include "nn/cache/growing_cache.h"

namespace mlxk {

/// Keys and values of every token, in the activations' type.
class KVCache : public GrowingCache {
 public:
  using GrowingCache::GrowingCache;

  std::string_view kind() const override { return "full"; }
  std::unique_ptr<Cache> snapshot() const override { return std::unique_ptr<Cache>(new KVCache(*this)); }
  mx::array attend(const mx::array& queries, const mx::array& keys, const mx::array& values,
                   const AttentionScores& scores, const AttentionMask& mask, const Positions& positions) override;
  bool has_slots(const Positions&) const override { return true; }
  Slots reserve_slots(const Positions& positions, int kv_heads, int key_dim, int value_dim) override;
};

}  // namespace mlxk
