#include "nn/cache/cross_cache.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "mlx/ops.h"
#include "nn/cache/buffer.h"

namespace mlxk {

bool CrossCache::can_trim(int n) const {
  for (size_t row = 0; row < images_.size(); ++row) {
    const int kept = positions_[row] - n;
    if (n < 0 || kept < 0 || (!images_[row].empty() && images_[row].back().tokens.back() >= kept)) return false;
  }
  return true;
}

void CrossCache::trim(int n) {
  if (!can_trim(n)) throw Error(ErrorKind::internal, "[cache] trim of an image");
  for (int& position : positions_) position -= n;
}

std::unique_ptr<Cache> CrossCache::batch(std::span<Cache* const> parts) const {
  auto batched = std::make_unique<CrossCache>(0);
  for (Cache* part : parts) {
    auto* cross = dynamic_cast<CrossCache*>(part);
    if (!cross || cross->rows() != 1) {
      throw Error(ErrorKind::internal, "[cache] batch: needs caches of one kind and one row");
    }
    batched->parts_.push_back(cross);
    batched->positions_.push_back(cross->positions_.front());
    batched->images_.push_back(cross->images_.front());
  }
  return batched;
}

void CrossCache::unbatch() {
  for (size_t row = 0; row < parts_.size(); ++row) {
    parts_[row]->positions_.front() = positions_[row];
    parts_[row]->images_.front() = images_[row];
  }
}

std::vector<mx::array> CrossCache::arrays() const {
  std::vector<mx::array> all;
  for (const auto& row : images_) {
    for (const Group& group : row) all.insert(all.end(), {group.keys, group.values});
  }
  return all;
}

int CrossCache::addressable_tokens() const { return std::numeric_limits<int>::max(); }

void CrossCache::restore(std::vector<mx::array> arrays, int tokens) {
  if (rows() != 1 || !arrays.empty()) throw Error(ErrorKind::internal, "[cache] restore: images are not saved");
  images_.front().clear();
  positions_.front() = tokens;
}

void CrossCache::add(int row, int token, const mx::array& keys, const mx::array& values) {
  auto& groups = images_.at(static_cast<size_t>(row));
  if (!groups.empty() && groups.back().tokens.back() >= token) {
    throw Error(ErrorKind::internal, "[cache] images must be added in the order of their tokens");
  }
  if (groups.empty() || groups.back().tokens.back() + 1 < token) {
    groups.push_back({{token}, {keys.shape(2)}, keys, values});
    return;
  }
  Group& group = groups.back();
  group.tokens.push_back(token);
  group.ends.push_back(group.ends.back() + keys.shape(2));
  group.keys = mx::concatenate({group.keys, keys}, 2);
  group.values = mx::concatenate({group.values, values}, 2);
}

std::vector<CrossCache::Seen> CrossCache::seen(const Positions& positions) const {
  std::vector<Seen> all;
  for (int row = 0; row < rows(); ++row) {
    const int first = positions.offsets[static_cast<size_t>(row)];
    for (const Group& group : images_[static_cast<size_t>(row)]) {
      for (size_t i = 0; i < group.tokens.size(); ++i) {
        // From the image's token, or the call's first, up to the next image's: it ends the previous one's range.
        const int begin = std::max(0, group.tokens[i] - first);
        if (begin >= positions.length) break;
        if (!all.empty() && all.back().row == row) all.back().end = begin;
        const int keys = group.ends[i];
        all.push_back(
            {row, begin, positions.length, {{first_tokens(group.keys, keys)}, {first_tokens(group.values, keys)}}});
      }
    }
  }
  std::erase_if(all, [](const Seen& one) { return one.begin == one.end; });
  return all;
}

void CrossCache::advance(const Positions& positions) {
  for (int row = 0; row < rows(); ++row) {
    positions_[static_cast<size_t>(row)] += positions.lengths[static_cast<size_t>(row)];
    auto& groups = images_[static_cast<size_t>(row)];
    if (groups.size() > 1) groups.erase(groups.begin(), groups.end() - 1);
  }
}

}  // namespace mlxk
