#include "nn/cache/recurrent_cache.h"

#include <algorithm>

#include "base/error.h"
#include "mlx/ops.h"
#include "nn/cache/buffer.h"

namespace mlxk {

void RecurrentCache::trim(int n) {
  if (!can_trim(n)) throw Error(ErrorKind::internal, "[cache] a recurrent state cannot be trimmed");
}

std::unique_ptr<Cache> RecurrentCache::batch(std::span<Cache* const> parts) const {
  auto batched = std::make_unique<RecurrentCache>(0, static_cast<int>(state_.size()));
  for (Cache* part : parts) {
    auto* recurrent = dynamic_cast<RecurrentCache*>(part);
    if (!recurrent || recurrent->rows() != 1 || recurrent->state_.size() != state_.size()) {
      throw Error(ErrorKind::internal, "[cache] batch: needs states of one kind and one row");
    }
    batched->parts_.push_back(recurrent);
    batched->positions_.push_back(recurrent->positions_.front());
  }
  for (size_t i = 0; i < state_.size(); ++i) {
    const auto has_state = [&](const RecurrentCache* part) { return part->state_[i].has_value(); };
    const auto sample = std::find_if(batched->parts_.begin(), batched->parts_.end(), has_state);
    if (sample == batched->parts_.end()) continue;
    std::vector<mx::array> rows;  // a row that has seen nothing starts with zeros
    for (const auto* part : batched->parts_) {
      rows.push_back(has_state(part) ? *part->state_[i] : mx::zeros_like(*(*sample)->state_[i]));
    }
    batched->state_[i] = mx::concatenate(rows, 0);
  }
  return batched;
}

void RecurrentCache::unbatch() {
  for (int row = 0; row < static_cast<int>(parts_.size()); ++row) {
    parts_[row]->positions_.front() = positions_[row];
    for (size_t i = 0; i < state_.size(); ++i) {
      if (state_[i]) parts_[row]->state_[i] = row_of(*state_[i], row);
    }
  }
}

std::vector<mx::array> RecurrentCache::arrays() const {
  std::vector<mx::array> all;
  for (const auto& array : state_) {
    if (array) all.push_back(*array);
  }
  return all;
}

void RecurrentCache::restore(std::vector<mx::array> arrays, int tokens) {
  if (rows() != 1 || arrays.size() != state_.size()) {
    throw Error(ErrorKind::internal, "[cache] restore: not the arrays of one row");
  }
  for (size_t i = 0; i < arrays.size(); ++i) state_[i] = std::move(arrays[i]);
  positions_.front() = tokens;
}

void RecurrentCache::advance(const Positions& positions) {
  for (int row = 0; row < rows(); ++row) positions_[row] += positions.lengths[row];
}

}  // namespace mlxk
