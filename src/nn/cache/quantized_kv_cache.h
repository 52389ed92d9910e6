#pragma once

#include "nn/cache/growing_cache.h"

namespace mlxk {

/// Keys and values of every token, packed with MLX's affine quantisation along the head dimension.
class QuantizedKVCache : public GrowingCache {
 public:
  /// `bits` is 4 or 8; the head dimension must be a multiple of `group_size` (else append() throws invalid).
  QuantizedKVCache(int rows, int bits = 8, int group_size = 64);

  std::string_view kind() const override { return "quantized"; }
  std::unique_ptr<Cache> snapshot() const override { return std::unique_ptr<Cache>(new QuantizedKVCache(*this)); }
  KvView append(const mx::array& keys, const mx::array& values, const Positions& positions) override;
  KvView view(const Positions& positions) const override { return view_of(filled(positions)); }

 private:
  KvView view_of(const std::vector<mx::array>& all) const;

  int bits_, group_size_;
};

}  // namespace mlxk
