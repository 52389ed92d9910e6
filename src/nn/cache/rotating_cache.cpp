#include "nn/cache/rotating_cache.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "mlx/ops.h"
#include "nn/cache/buffer.h"

namespace mlxk {
namespace {

constexpr int kStep = 256;

}  // namespace

RotatingKVCache::RotatingKVCache(int rows, int window, int keep) : AttentionCache(rows), window_(window), keep_(keep) {
  if (keep < 0 || keep >= window) {
    throw Error(ErrorKind::internal, fmt::format("[cache] keep must be in [0, {}), got {}", window, keep));
  }
}

int RotatingKVCache::slot_of(int position) const {
  return position < window_ ? position : keep_ + (position - keep_) % (window_ - keep_);
}

int RotatingKVCache::position_in(int slot, int tokens) const {
  if (slot >= tokens) return -1;
  if (slot < keep_) return slot;
  int ring = window_ - keep_;
  return slot + (tokens - 1 - slot) / ring * ring;  // the newest position that has this slot
}

int RotatingKVCache::used_slots() const {
  return std::min(window_, *std::max_element(positions_.begin(), positions_.end()));
}

bool RotatingKVCache::can_trim(int n) const {
  return n >= 0 && std::all_of(positions_.begin(), positions_.end(),
                               [&](int tokens) { return n == 0 || (n <= tokens && tokens <= window_); });
}

void RotatingKVCache::trim(int n) {
  if (!can_trim(n)) throw Error(ErrorKind::internal, "[cache] trim of tokens that were overwritten");
  for (int& position : positions_) position -= n;
}

std::unique_ptr<Cache> RotatingKVCache::snapshot() const { return std::unique_ptr<Cache>(new RotatingKVCache(*this)); }

int RotatingKVCache::slots_for(int tokens) const {
  return tokens >= window_ ? window_ : std::min(window_, (tokens + kStep - 1) / kStep * kStep);
}

void RotatingKVCache::restore(std::vector<mx::array> arrays, int tokens) {
  if (rows() != 1 || arrays.size() != 2 || arrays[0].shape(2) < std::min(tokens, window_)) {
    throw Error(ErrorKind::internal, "[cache] restore: not the arrays of one row");
  }
  buffers_ = std::move(arrays);
  positions_.front() = tokens;
  owner_ = std::make_shared<int>(0);
}

void RotatingKVCache::reserve(int slots, const std::vector<mx::array>& parts) {
  if (!buffers_.empty() && slots <= buffers_.front().shape(2)) return;
  const int rounded = slots_for(slots);
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i < buffers_.size()) {
      buffers_[i] = grown(buffers_[i], rounded, parts[i]);
    } else {
      buffers_.push_back(grown(std::nullopt, rounded, parts[i]));
    }
  }
}

// One token a row is written into the ring and sees its content; several tokens see the ring as it was and then each
// other.
AttentionMask RotatingKVCache::mask(const Positions& positions, const MaskRequest& request) const {
  int length = positions.length, rows = positions.rows();
  int newest = *std::max_element(positions.offsets.begin(), positions.offsets.end()) + length;
  bool in_ring = length == 1;
  const bool plain = positions.uniform && request.is_plain();
  if (plain && in_ring) return {"", std::nullopt};
  if (plain && keep_ == 0 && newest <= window_) return {"causal", std::nullopt};

  int slots = in_ring ? std::min(window_, newest) : used_slots();
  int tokens = in_ring ? slots : slots + length;
  std::vector<int> key_positions;  // -1: an empty slot
  for (int row = 0; row < rows; ++row) {
    int offset = positions.offsets[row];
    for (int slot = 0; slot < slots; ++slot) key_positions.push_back(position_in(slot, in_ring ? offset + 1 : offset));
    for (int i = 0; i < tokens - slots; ++i) key_positions.push_back(offset + i);
  }
  mx::array keys(key_positions.begin(), {rows, 1, 1, tokens}, mx::int32);
  const mx::array queries = mx::reshape(positions.order(), {rows, 1, length, 1});
  const mx::array oldest = mx::subtract(queries, mx::array(window_ - keep_));
  const mx::array recent = mx::logical_or(mx::greater(keys, oldest), mx::less(keys, mx::array(keep_)));
  MaskRequest rest = request;
  rest.window = 0;
  return {"array", mx::logical_and(mask_array(rest, positions, keys), recent)};
}

void RotatingKVCache::store(mx::array& buffer, const mx::array& part, int row, int offset, int length) const {
  // Of a long run only the kept tokens and the last `window` tokens stay.
  int first = std::max(0, length - (window_ - keep_));
  if (first > 0 && offset < keep_) {
    int head = std::min(keep_ - offset, length);
    write_slots(buffer, part, row, offset, 0, head);
    first = std::max(first, head);
  }
  for (int done = first; done < length;) {
    int slot = slot_of(offset + done);
    int run = std::min(length - done, window_ - slot);
    write_slots(buffer, part, row, slot, done, run);
    done += run;
  }
}

KvView RotatingKVCache::append(const mx::array& keys, const mx::array& values, const Positions& positions) {
  const std::vector<mx::array> parts{keys, values};
  int newest = *std::max_element(positions.offsets.begin(), positions.offsets.end()) + positions.length;
  int slots = std::min(window_, newest), old_slots = used_slots();
  std::vector<mx::array> seen;
  if (positions.length > 1) {
    for (size_t i = 0; i < parts.size(); ++i) {
      bool first = buffers_.empty() || old_slots == 0;
      seen.push_back(first ? parts[i] : mx::concatenate({first_tokens(buffers_[i], old_slots), parts[i]}, 2));
    }
  }
  reserve(slots, parts);
  for (size_t i = 0; i < parts.size(); ++i) {
    if (positions.uniform) {
      store(buffers_[i], parts[i], -1, positions.offsets[0], positions.lengths[0]);
    } else {
      for (int row = 0; row < rows(); ++row) {
        store(buffers_[i], parts[i], row, positions.offsets[row], positions.lengths[row]);
      }
    }
    if (positions.length == 1) seen.push_back(first_tokens(buffers_[i], slots));
  }
  owner_ = std::make_shared<int>(0);  // a snapshot has kept the old buffers
  advance(positions);
  return {{seen[0]}, {seen[1]}};
}

AttentionCache::Slots RotatingKVCache::reserve_slots(const Positions& positions, int kv_heads, int key_dim,
                                                     int value_dim, mx::Dtype type) {
  const int newest = *std::max_element(positions.offsets.begin(), positions.offsets.end()) + positions.length;
  const int slots = std::min(window_, newest);
  if (owner_.use_count() > 1) {
    for (auto& buffer : buffers_) buffer = copied(buffer);
    owner_ = std::make_shared<int>(0);
  }
  if (buffers_.empty() || slots > buffers_.front().shape(2)) {
    const auto sample = [&](int dim) { return mx::zeros({rows(), kv_heads, 1, dim}, type); };
    reserve(slots, {sample(key_dim), sample(value_dim)});
  }
  advance(positions);
  return {.keys = {&buffers_[0]}, .values = {&buffers_[1]}, .window = window_, .keep = keep_};
}

}  // namespace mlxk
