#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "media/byte_source.h"

namespace mlxk {

/// The room that all uploads of a server share. Any thread.
class SpoolRoom {
 public:
  explicit SpoolRoom(uint64_t bytes) : free_(static_cast<int64_t>(bytes)) {}
  /// Takes `bytes` of the room; false, without taking any, if that much is not left.
  bool take(uint64_t bytes);
  void give_back(uint64_t bytes) { free_ += static_cast<int64_t>(bytes); }

 private:
  std::atomic<int64_t> free_;
};

/// Bytes that arrive in pieces and are read once all are there: the first ones in memory, more in an unnamed file that
/// ends with the spool. One thread at a time.
class Spool {
 public:
  explicit Spool(std::shared_ptr<SpoolRoom> room) : room_(std::move(room)) {}
  ~Spool() { clear(); }
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  /// Throws ApiError: 503 if all uploads together take too much, 507 if the disk is full.
  void append(std::string_view bytes);
  uint64_t size() const { return size_; }
  /// Reads from the beginning; the spool must outlive the result, and append() must not follow.
  std::unique_ptr<ByteSource> read() const;
  /// Drops all bytes.
  void clear();

 private:
  void write(std::string_view bytes);

  std::shared_ptr<SpoolRoom> room_;
  std::string memory_;
  int file_ = -1;
  uint64_t size_ = 0;
};

}  // namespace mlxk
