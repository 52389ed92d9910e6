#pragma once

#include <memory>
#include <vector>

#include "nn/cache/attention_cache.h"

namespace mlxk {

/// Keys and values of the last `window` tokens of each row: a ring, in which the first `keep` tokens are never
/// overwritten.
class RotatingKVCache : public AttentionCache {
 public:
  /// A query sees the `window` newest tokens, including itself; throws internal unless 0 <= keep < window.
  RotatingKVCache(int rows, int window, int keep = 0);

  std::string_view kind() const override { return "rotating"; }
  /// Possible only while nothing was overwritten.
  bool can_trim(int n) const override;
  void trim(int n) override;
  std::unique_ptr<Cache> snapshot() const override;
  std::vector<mx::array> arrays() const override { return buffers_; }
  int addressable_tokens() const override { return window_; }
  int slots_for(int tokens) const override;
  void restore(std::vector<mx::array> arrays, int tokens) override;
  AttentionMask mask(const Positions& positions, const MaskRequest& request = {}) const override;
  KvView append(const mx::array& keys, const mx::array& values, const Positions& positions) override;
  CacheGeometry geometry() const override { return {kind(), window_, keep_}; }
  bool has_slots(const Positions&) const override { return true; }
  Slots reserve_slots(const Positions& positions, int kv_heads, int key_dim, int value_dim, mx::Dtype type) override;

 private:
  int slot_of(int position) const;
  int position_in(int slot, int tokens) const;  // for a row that has seen `tokens`; -1: empty
  int used_slots() const;
  void reserve(int slots, const std::vector<mx::array>& parts);
  void store(mx::array& buffer, const mx::array& part, int row, int offset, int length) const;

  int window_, keep_;
  std::shared_ptr<int> owner_ = std::make_shared<int>(0);  // shared with the snapshots that use the same buffers
  std::vector<mx::array> buffers_;  // keys and values [B, kv_heads, slots, head_dim]; empty before the first token
};

}  // namespace mlxk
