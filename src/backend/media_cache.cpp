#include "backend/media_cache.h"

#include <utility>

namespace mlxk {

std::shared_ptr<const EncodedMedia> MediaCache::find(const std::string& digest) {
  const auto found = by_digest_.find(digest);
  if (found == by_digest_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->encoded;
}

void MediaCache::add(const std::string& digest, std::shared_ptr<const EncodedMedia> encoded) {
  uint64_t bytes = encoded->features.nbytes();
  for (const auto& features : encoded->layer_features) bytes += features.nbytes();
  if (bytes > budget_ || by_digest_.contains(digest)) return;
  while (bytes_ + bytes > budget_) {
    bytes_ -= entries_.back().bytes;
    by_digest_.erase(entries_.back().digest);
    entries_.pop_back();
  }
  entries_.push_front({digest, std::move(encoded), bytes});
  by_digest_[digest] = entries_.begin();
  bytes_ += bytes;
}

void MediaCache::clear() {
  by_digest_.clear();
  entries_.clear();
  bytes_ = 0;
}

}  // namespace mlxk
