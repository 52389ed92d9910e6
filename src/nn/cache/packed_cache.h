#pragma once

#include "nn/cache/attention_cache.h"

namespace mlxk {

/// Replaces the cache where a decoder reads whole texts, packed into one row, with nothing after them: attention stays
/// within each text (Attention), and nothing is stored.
class PackedCache : public AttentionCache {
 public:
  /// With `causal` false a text's tokens see each other in both directions. `window`: tokens see only those less than
  /// `window` away; 0: all.
  PackedCache(std::vector<int> lengths, bool causal, int window)
      : AttentionCache(1), lengths(std::move(lengths)), causal(causal), window(window) {}

  std::string_view kind() const override { return "packed"; }
  bool can_trim(int) const override { return false; }
  AttentionMask mask(const Positions&, const MaskRequest&) const override { return {}; }
  std::vector<mx::array> arrays() const override { return {}; }
  std::unique_ptr<Cache> snapshot() const override { return std::make_unique<PackedCache>(*this); }

  // Functions that would store tokens throw internal.
  void trim(int n) override;
  void restore(std::vector<mx::array> arrays, int tokens) override;
  KvView append(const mx::array& keys, const mx::array& values, const Positions& positions) override;

  const std::vector<int> lengths;
  const bool causal;
  const int window;
};

}  // namespace mlxk
