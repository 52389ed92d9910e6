#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "models/media_encoder.h"
#include "worker/backend.h"

namespace mlxk {

/// The encoded features of one model's images and recordings by digest; the least recently used are evicted. Worker
/// thread.
class MediaCache {
 public:
  explicit MediaCache(uint64_t budget_bytes) : budget_(budget_bytes) {}

  /// Returns the features for `digest`, or null.
  std::shared_ptr<const EncodedMedia> find(const std::string& digest);
  /// Adds `encoded`, whose arrays are evaluated, unless it alone exceeds the budget.
  void add(const std::string& digest, std::shared_ptr<const EncodedMedia> encoded);
  void clear();

 private:
  struct Entry {
    std::string digest;
    std::shared_ptr<const EncodedMedia> encoded;
    uint64_t bytes;
  };

  const uint64_t budget_;
  uint64_t bytes_ = 0;
  std::list<Entry> entries_;  // most recently used first
  std::map<std::string, std::list<Entry>::iterator> by_digest_;
};

}  // namespace mlxk
