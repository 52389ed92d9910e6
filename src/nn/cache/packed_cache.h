#pragma once

#include "nn/cache/attention_cache.h"

namespace mlxk {

/// Stands in the place of a cache where a decoder reads whole texts, packed one behind the other in one row, and
/// nothing comes after them: attention stays within each text (Attention), and nothing is kept.
class PackedCache : public AttentionCache {
 public:
  /// With `causal` false a text's tokens see each other both ways; `window`: only those less than so many away; 0: all.
  PackedCache(std::vector<int> lengths, bool causal, int window)
      : AttentionCache(1), lengths(std::move(lengths)), causal(causal), window(window) {}

  std::string_view kind() const override { return "packed"; }
  bool can_trim(int) const override { return false; }
  AttentionMask mask(const Positions&, const MaskRequest&) const override { return {}; }
  std::vector<mx::array> arrays() const override { return {}; }
  std::unique_ptr<Cache> snapshot() const override { return std::make_unique<PackedCache>(*this); }

  // What keeps tokens throws internal.
  void trim(int n) override;
  void restore(std::vector<mx::array> arrays, int tokens) override;
  KvView append(const mx::array& keys, const mx::array& values, const Positions& positions) override;

  const std::vector<int> lengths;
  const bool causal;
  const int window;
};

}  // namespace mlxk
