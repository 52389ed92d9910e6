#pragma once

#include "nn/cache/growing_cache.h"

namespace mlxk {

/// Keys and values of every token, in the activations' type.
class KVCache : public GrowingCache {
 public:
  /// With a `value_prefix` values are not stored: they are the first `value_prefix` numbers of the keys (the latent
  /// vectors of multi-head latent attention).
  explicit KVCache(int rows, int value_prefix = 0) : GrowingCache(rows), value_prefix_(value_prefix) {}

  std::string_view kind() const override { return "full"; }
  std::unique_ptr<Cache> snapshot() const override { return std::unique_ptr<Cache>(new KVCache(*this)); }
  KvView append(const mx::array& keys, const mx::array& values, const Positions& positions) override;
  KvView view(const Positions& positions) const override { return view_of(filled(positions)); }
  bool has_slots(const Positions&) const override { return true; }
  Slots reserve_slots(const Positions& positions, int kv_heads, int key_dim, int value_dim, mx::Dtype type) override;
  Slots filled_slots(const Positions& positions) override;

 private:
  KvView view_of(std::vector<mx::array> buffers) const;
  Slots slots();

  int value_prefix_;
};

}  // namespace mlxk
