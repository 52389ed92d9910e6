#include "nn/cache/growing_cache.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/append.h"
#include "mlx/ops.h"
#include "nn/cache/buffer.h"

namespace mlxk {

bool GrowingCache::can_trim(int n) const {
  return n >= 0 && std::all_of(positions_.begin(), positions_.end(), [&](int tokens) { return n <= tokens; });
}

void GrowingCache::trim(int n) {
  if (!can_trim(n)) throw Error(ErrorKind::internal, "[cache] trim of more tokens than there are");
  for (int& position : positions_) position -= n;
}

AttentionMask GrowingCache::mask(const Positions& positions, const MaskRequest& request) const {
  const int tokens = *std::max_element(positions.offsets.begin(), positions.offsets.end()) + positions.length;
  const bool sees_all = request.is_plain() && (request.window == 0 || tokens <= request.window);
  if (positions.uniform && sees_all) return {positions.length > 1 ? "causal" : "", std::nullopt};
  const mx::array keys = mx::reshape(mx::arange(tokens), {1, 1, 1, tokens});
  return {"array", mask_array(request, positions, keys)};
}

int GrowingCache::slots_for(int tokens) const {
  // An announced length is allocated exactly; growth beyond it happens in larger steps, because each one copies.
  constexpr int kMeasure = 64;
  const int step = tokens <= expected_ ? kMeasure : kStep;
  return (std::max(tokens, expected_) + step - 1) / step * step;
}

void GrowingCache::restore(std::vector<mx::array> arrays, int tokens) {
  const bool fits = std::all_of(arrays.begin(), arrays.end(), [&](const mx::array& x) { return x.shape(2) >= tokens; });
  if (rows() != 1 || arrays.empty() || !fits)
    throw Error(ErrorKind::internal, "[cache] restore: not the arrays of one row");
  buffers_ = std::move(arrays);
  positions_.front() = tokens;
  owner_ = std::make_shared<int>(0);
}

void GrowingCache::grow(int tokens, const std::vector<mx::array>& samples) {
  if (tokens <= capacity()) return;
  const int rounded = slots_for(tokens);
  for (size_t i = 0; i < samples.size(); ++i) {
    if (i < buffers_.size()) {
      buffers_[i] = grown(buffers_[i], rounded, samples[i]);
    } else {
      buffers_.push_back(grown(std::nullopt, rounded, samples[i]));
    }
  }
  owner_ = std::make_shared<int>(0);
}

void GrowingCache::unshare() {
  if (!is_shared()) return;
  for (auto& buffer : buffers_) buffer = copied(buffer);
  owner_ = std::make_shared<int>(0);
}

std::vector<mx::array> GrowingCache::filled(const Positions& positions) const {
  const int tokens = *std::max_element(positions.offsets.begin(), positions.offsets.end()) + positions.length;
  if (tokens > capacity()) throw Error(ErrorKind::internal, "[cache] its layer has not appended the call's tokens yet");
  std::vector<mx::array> views;
  for (const auto& buffer : buffers_) views.push_back(first_tokens(buffer, tokens));
  return views;
}

std::vector<mx::array> GrowingCache::append_parts(const std::vector<mx::array>& parts, const Positions& positions) {
  const auto& offsets = positions.offsets;
  int tokens = *std::max_element(offsets.begin(), offsets.end()) + positions.length;
  grow(tokens, parts);
  bool shared = is_shared();  // a snapshot must keep its tokens: copy this once
  auto write = [&](mx::array& buffer, const mx::array& part, int row, int slot, int length) {
    if (length == 0) return;
    if (shared) {
      write_slots(buffer, part, row, slot, 0, length);
    } else {
      buffer = append_in_place(buffer, slots_of(part, row, 0, length), row, slot);
    }
  };
  std::vector<mx::array> views;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (positions.uniform) {
      write(buffers_[i], parts[i], -1, offsets[0], positions.lengths[0]);
    } else {
      for (int row = 0; row < rows(); ++row) write(buffers_[i], parts[i], row, offsets[row], positions.lengths[row]);
    }
    views.push_back(first_tokens(buffers_[i], tokens));
  }
  if (shared) owner_ = std::make_shared<int>(0);
  advance(positions);
  return views;
}

}  // namespace mlxk
