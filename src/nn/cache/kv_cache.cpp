#include "nn/cache/kv_cache.h"

#include <algorithm>

#include "base/error.h"
#include "mlx/fast.h"
#include "mlx/ops.h"
#include "nn/cache/buffer.h"

namespace mlxk {

bool KVCache::can_trim(int n) const {
  return n >= 0 && std::all_of(positions_.begin(), positions_.end(), [&](int tokens) { return n <= tokens; });
}

void KVCache::trim(int n) {
  if (!can_trim(n)) throw Error(ErrorKind::internal, "[cache] trim of more tokens than there are");
  for (int& position : positions_) position -= n;
}

std::unique_ptr<Cache> KVCache::snapshot() const { return std::unique_ptr<Cache>(new KVCache(*this)); }

std::unique_ptr<Cache> KVCache::select(std::span<const int> rows) const {
  auto copy = std::make_unique<KVCache>(0);
  for (int row : rows) copy->positions_.push_back(positions_.at(row));
  if (keys_) {
    copy->keys_ = rows_of(*keys_, rows);
    copy->values_ = rows_of(*values_, rows);
  }
  return copy;
}

void KVCache::merge(const Cache& other) {
  const auto& more = dynamic_cast<const KVCache&>(other);
  std::optional<mx::array> keys = joined_rows(keys_, rows(), more.keys_, more.rows());
  values_ = joined_rows(values_, rows(), more.values_, more.rows());
  keys_ = keys;
  positions_.insert(positions_.end(), more.positions_.begin(), more.positions_.end());
}

std::vector<mx::array> KVCache::arrays() const {
  return keys_ ? std::vector<mx::array>{*keys_, *values_} : std::vector<mx::array>{};
}

void KVCache::reserve(int tokens, const mx::array& keys, const mx::array& values) {
  if (tokens <= capacity()) return;
  int rounded = (tokens + kStep - 1) / kStep * kStep;
  mx::array grown_keys = grown(keys_, rounded, keys);
  values_ = grown(values_, rounded, values);
  keys_ = grown_keys;
}

AttentionMask KVCache::mask(const Positions& positions) const {
  if (positions.uniform) return {positions.length > 1 ? "causal" : "", std::nullopt};
  int tokens = *std::max_element(positions.offsets.begin(), positions.offsets.end()) + positions.length;
  mx::array keys = mx::reshape(mx::arange(tokens), {1, 1, 1, tokens});
  mx::array queries = mx::add(mx::reshape(*positions.offset_array, {positions.rows(), 1, 1, 1}),
                              mx::reshape(mx::arange(positions.length), {1, 1, positions.length, 1}));
  return {"array", mx::less_equal(keys, queries)};
}

mx::array KVCache::attend(const mx::array& queries, const mx::array& keys, const mx::array& values, float scale,
                          const AttentionMask& mask, const Positions& positions) {
  const auto& offsets = positions.offsets;
  int tokens = *std::max_element(offsets.begin(), offsets.end()) + positions.length;
  reserve(tokens, keys, values);
  if (positions.uniform) {
    write_slots(*keys_, keys, -1, offsets[0], 0, positions.length);
    write_slots(*values_, values, -1, offsets[0], 0, positions.length);
  } else {
    for (int row = 0; row < rows(); ++row) {
      if (positions.lengths[row] == 0) continue;
      write_slots(*keys_, keys, row, offsets[row], 0, positions.lengths[row]);
      write_slots(*values_, values, row, offsets[row], 0, positions.lengths[row]);
    }
  }
  advance(positions);
  return mx::fast::scaled_dot_product_attention(queries, first_tokens(*keys_, tokens), first_tokens(*values_, tokens),
                                                scale, mask.mode, mask.array);
}

}  // namespace mlxk
