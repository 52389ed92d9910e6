#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "media/byte_source.h"

namespace mlxk {

/// What the uploads of a server may take together. Any thread.
class SpoolRoom {
 public:
  explicit SpoolRoom(uint64_t bytes) : free_(static_cast<int64_t>(bytes)) {}
  /// False, and nothing is taken, where there is not so much.
  bool take(uint64_t bytes);
  void give_back(uint64_t bytes) { free_ += static_cast<int64_t>(bytes); }

 private:
  std::atomic<int64_t> free_;
};

/// Bytes that arrive in pieces and are read once they are all there: the first in memory, more of them in a file
/// without a name, which is gone with the spool. One thread at a time.
class Spool {
 public:
  explicit Spool(std::shared_ptr<SpoolRoom> room) : room_(std::move(room)) {}
  ~Spool() { clear(); }
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  /// Throws ApiError: 503 where all uploads together take too much, 507 where the disk is full.
  void append(std::string_view bytes);
  uint64_t size() const { return size_; }
  /// From the beginning; the spool must outlive it and is not appended to any more.
  std::unique_ptr<ByteSource> read() const;
  /// Forgets everything.
  void clear();

 private:
  void write(std::string_view bytes);

  std::shared_ptr<SpoolRoom> room_;
  std::string memory_;
  int file_ = -1;
  uint64_t size_ = 0;
};

}  // namespace mlxk
