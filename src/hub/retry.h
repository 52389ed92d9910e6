#pragma once

#include <chrono>
#include <functional>

#include "http/client.h"

namespace mlxk {

/// How long to wait before a request is tried again: longer each time, with some chance in it so that many clients do
/// not come back at once. One thread.
class Backoff {
 public:
  explicit Backoff(int tries) : tries_(tries) {}
  /// None when all tries are used up; otherwise what to wait, at least as long as the reply's Retry-After says.
  bool next(const HttpReply& response, std::chrono::milliseconds& wait);
  /// The last try brought something: counts anew.
  void reset() { used_ = 0; }

 private:
  int tries_, used_ = 0;
};

/// Whether a reply says that trying again may help: 408, 425, 429, 500, 502, 503, 504 or a failure on the way.
bool is_worth_retrying(const HttpReply& response);

/// Retry-After, in seconds or as a date (or what the hub's RateLimit says), at most ten minutes; zero when absent.
std::chrono::milliseconds retry_after(const HttpReply& response);

/// Sleeps; false as soon as `cancelled` says so.
bool wait_for(std::chrono::milliseconds time, const std::function<bool()>& cancelled);

}  // namespace mlxk
