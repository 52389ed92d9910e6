#pragma once

#include <optional>

#include "nn/cache/attention_cache.h"

namespace mlxk {

/// Keys and values of every token, in one buffer that grows in steps and is appended to in place.
class KVCache : public AttentionCache {
 public:
  static constexpr int kStep = 256;
  using AttentionCache::AttentionCache;

  std::string_view kind() const override { return "full"; }
  bool can_trim(int n) const override;
  void trim(int n) override;
  std::unique_ptr<Cache> snapshot() const override;
  std::unique_ptr<Cache> select(std::span<const int> rows) const override;
  void merge(const Cache& other) override;
  std::vector<mx::array> arrays() const override;
  AttentionMask mask(const Positions& positions) const override;
  mx::array attend(const mx::array& queries, const mx::array& keys, const mx::array& values, float scale,
                   const AttentionMask& mask, const Positions& positions) override;

 private:
  void reserve(int tokens, const mx::array& keys, const mx::array& values);
  int capacity() const { return keys_ ? keys_->shape(2) : 0; }

  std::optional<mx::array> keys_, values_;  // [B, kv_heads, capacity, head_dim]
};

}  // namespace mlxk
