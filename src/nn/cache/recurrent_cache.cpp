#include "nn/cache/recurrent_cache.h"

#include "base/error.h"
#include "mlx/ops.h"
#include "nn/cache/buffer.h"

namespace mlxk {

void RecurrentCache::trim(int n) {
  if (!can_trim(n)) throw Error(ErrorKind::internal, "[cache] a recurrent state cannot be trimmed");
}

std::unique_ptr<Cache> RecurrentCache::select(std::span<const int> rows) const {
  auto copy = std::make_unique<RecurrentCache>(0, static_cast<int>(state_.size()));
  for (int row : rows) copy->positions_.push_back(positions_.at(row));
  for (size_t i = 0; i < state_.size(); ++i) {
    if (state_[i]) copy->state_[i] = rows_of(*state_[i], rows);
  }
  return copy;
}

void RecurrentCache::merge(const Cache& other) {
  const auto& more = dynamic_cast<const RecurrentCache&>(other);
  if (more.state_.size() != state_.size()) throw Error(ErrorKind::internal, "[cache] merge: states differ");
  for (size_t i = 0; i < state_.size(); ++i) {
    if (!state_[i] && !more.state_[i]) continue;
    auto or_zeros = [&](const RecurrentCache& cache) {
      if (cache.state_[i]) return *cache.state_[i];
      const mx::array& sample = state_[i] ? *state_[i] : *more.state_[i];
      mx::Shape shape = sample.shape();
      shape[0] = cache.rows();
      return mx::zeros(shape, sample.dtype());
    };
    state_[i] = mx::concatenate({or_zeros(*this), or_zeros(more)}, 0);
  }
  positions_.insert(positions_.end(), more.positions_.begin(), more.positions_.end());
}

std::vector<mx::array> RecurrentCache::arrays() const {
  std::vector<mx::array> all;
  for (const auto& array : state_) {
    if (array) all.push_back(*array);
  }
  return all;
}

void RecurrentCache::advance(const Positions& positions) {
  for (int row = 0; row < rows(); ++row) positions_[row] += positions.lengths[row];
}

}  // namespace mlxk
