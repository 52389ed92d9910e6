#include "nn/cache/batched_cache.h"

#include <algorithm>

#include "base/error.h"
#include "mlx/ops.h"
#include "nn/cache/buffer.h"

namespace mlxk {

BatchedAttentionCache::BatchedAttentionCache(std::span<Cache* const> parts) : AttentionCache(0) {
  for (Cache* part : parts) {
    auto* attention = dynamic_cast<AttentionCache*>(part);
    if (!attention || part->rows() != 1 || part->kind() != parts.front()->kind()) {
      throw Error(ErrorKind::internal, "[cache] batch: needs caches of one kind and one row");
    }
    parts_.push_back(attention);
    positions_.push_back(part->positions().front());
  }
}

bool BatchedAttentionCache::can_trim(int n) const {
  return std::all_of(parts_.begin(), parts_.end(), [&](const AttentionCache* part) { return part->can_trim(n); });
}

void BatchedAttentionCache::trim(int n) {
  if (!can_trim(n)) throw Error(ErrorKind::internal, "[cache] trim of tokens that are gone");
  for (AttentionCache* part : parts_) part->trim(n);
  for (int& position : positions_) position -= n;
}

std::unique_ptr<Cache> BatchedAttentionCache::snapshot() const {
  throw Error(ErrorKind::internal, "[cache] batched rows have no snapshot of their own");
}

void BatchedAttentionCache::restore(std::vector<mx::array>, int) {
  throw Error(ErrorKind::internal, "[cache] batched rows are restored one by one");
}

std::vector<mx::array> BatchedAttentionCache::arrays() const {
  std::vector<mx::array> all;
  for (const AttentionCache* part : parts_) {
    for (const auto& array : part->arrays()) all.push_back(array);
  }
  return all;
}

Positions BatchedAttentionCache::of_row(const Positions& positions, int row) {
  std::optional<mx::array> given = positions.given;
  if (given && given->ndim() == 2) given = row_of(*given, row);
  if (given && given->ndim() == 3) given = mx::slice(*given, {0, row, 0}, {3, row + 1, positions.length});
  return Positions({positions.offsets[row]}, positions.length, {positions.lengths[row]}, std::move(given));
}

mx::array BatchedAttentionCache::by_rows(
    const Positions& positions, bool appends,
    const std::function<mx::array(AttentionCache& part, int row, const Positions& at)>& step) {
  std::vector<mx::array> outs;
  for (int row = 0; row < rows(); ++row) outs.push_back(step(*parts_[row], row, of_row(positions, row)));
  if (appends) advance(positions);
  return mx::concatenate(outs, 0);
}

KvView BatchedAttentionCache::append(const mx::array&, const mx::array&, const Positions&) {
  throw Error(ErrorKind::internal, "[cache] batched rows are appended to one by one");
}

namespace {

/// A row's slots; rope does not use these positions.
Positions slots_of_row(const Positions& positions, int row) {
  return Positions({positions.offsets[row]}, positions.length, {positions.lengths[row]});
}

}  // namespace

bool BatchedAttentionCache::has_slots(const Positions& positions) const {
  for (int row = 0; row < rows(); ++row) {
    if (!parts_[row]->has_slots(slots_of_row(positions, row))) return false;
  }
  return true;
}

mx::array BatchedAttentionCache::attend(const mx::array& queries, const mx::array& keys, const mx::array& values,
                                        const AttentionScores& scores, const AttentionMask& mask,
                                        const Positions& positions) {
  if (mask.array) throw Error(ErrorKind::internal, "[cache] batched rows have masks of their own");
  return by_rows(positions, true, [&](AttentionCache& part, int row, const Positions& at) {
    const AttentionMask own = part.mask(at, request_of_row(mask.request, row));
    return part.attend(row_of(queries, row), row_of(keys, row), row_of(values, row), scores, own, at);
  });
}

AttentionCache::Slots BatchedAttentionCache::slots_of_rows(
    const Positions& positions, const std::function<Slots(AttentionCache&, const Positions&)>& of) {
  Slots all;
  for (int row = 0; row < rows(); ++row) {
    const Slots slots = of(*parts_[row], slots_of_row(positions, row));
    all.keys.push_back(slots.keys.front());
    if (!slots.values.empty()) all.values.push_back(slots.values.front());
    all.window = slots.window;
    all.keep = slots.keep;
    all.value_prefix = slots.value_prefix;
  }
  return all;
}

AttentionCache::Slots BatchedAttentionCache::reserve_slots(const Positions& positions, int kv_heads, int key_dim,
                                                           int value_dim, mx::Dtype type) {
  Slots all = slots_of_rows(positions, [&](AttentionCache& part, const Positions& at) {
    return part.reserve_slots(at, kv_heads, key_dim, value_dim, type);
  });
  advance(positions);
  return all;
}

AttentionCache::Slots BatchedAttentionCache::filled_slots(const Positions& positions) {
  return slots_of_rows(positions, [](AttentionCache& part, const Positions& at) { return part.filled_slots(at); });
}

}  // namespace mlxk
