#include "nn/cache/kv_cache.h"

#include <algorithm>

#include "mlx/ops.h"

namespace mlxk {

KvView KVCache::view_of(std::vector<mx::array> buffers) const {
  if (value_prefix_ == 0) return {{buffers[0]}, {buffers[1]}};
  mx::Shape end = buffers[0].shape();
  end[3] = value_prefix_;
  return {{buffers[0]}, {mx::slice(buffers[0], {0, 0, 0, 0}, end)}};
}

KvView KVCache::append(const mx::array& keys, const mx::array& values, const Positions& positions) {
  return view_of(value_prefix_ > 0 ? append_parts({keys}, positions) : append_parts({keys, values}, positions));
}

AttentionCache::Slots KVCache::slots() {
  if (value_prefix_ > 0) return {.keys = {&buffers()[0]}, .values = {}, .value_prefix = value_prefix_};
  return {.keys = {&buffers()[0]}, .values = {&buffers()[1]}};
}

AttentionCache::Slots KVCache::reserve_slots(const Positions& positions, int kv_heads, int key_dim, int value_dim,
                                             mx::Dtype type) {
  const auto& offsets = positions.offsets;
  // Makes room for all L tokens of every row, including those past its length.
  int tokens = *std::max_element(offsets.begin(), offsets.end()) + positions.length;
  if (tokens > capacity()) {
    const auto sample = [&](int dim) { return mx::zeros({rows(), kv_heads, 1, dim}, type); };
    std::vector<mx::array> samples{sample(key_dim)};
    if (value_prefix_ == 0) samples.push_back(sample(value_dim));
    grow(tokens, samples);
  }
  unshare();
  advance(positions);
  return slots();
}

AttentionCache::Slots KVCache::filled_slots(const Positions& positions) {
  filled(positions);  // throws if they are not there
  return slots();
}

}  // namespace mlxk
