#include "nn/cache/quantized_kv_cache.h"

#include <fmt/format.h>

#include "base/error.h"
#include "mlx/ops.h"

namespace mlxk {
QuantizedKVCache::QuantizedKVCache(int rows, int bits, int group_size)
    : GrowingCache(rows), bits_(bits), group_size_(group_size) {
  if (bits != 4 && bits != 8)
    throw Error(ErrorKind::invalid, fmt::format("[cache] kv bits must be 4 or 8, got {}", bits));
}

KvView QuantizedKVCache::append(const mx::array& keys, const mx::array& values, const Positions& positions) {
  for (const auto* part : {&keys, &values}) {
    if (part->shape(3) % group_size_ == 0) continue;
    throw Error(ErrorKind::invalid,
                fmt::format("[cache] heads of {} cannot be packed in groups of {}", part->shape(3), group_size_));
  }
  std::vector<mx::array> parts = mx::quantize(keys, group_size_, bits_);
  for (auto& part : mx::quantize(values, group_size_, bits_)) parts.push_back(part);
  return view_of(append_parts(parts, positions));
}

KvView QuantizedKVCache::view_of(const std::vector<mx::array>& all) const {
  return {{all[0], all[1], all[2]}, {all[3], all[4], all[5]}, bits_, group_size_};
}

}  // namespace mlxk
