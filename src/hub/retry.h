#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "http/client.h"

namespace mlxk {

/// What a server may ask to wait, in all, before a download gives up.
constexpr std::chrono::milliseconds kLongestAskedWait{180'000};

/// How long to wait before a request is tried again: longer each time, with some chance in it so that many clients do
/// not come back at once. One thread.
class Backoff {
 public:
  explicit Backoff(int tries) : tries_(tries) {}
  /// False when all tries are used up, or the waits that replies ask for (Retry-After) exceed kLongestAskedWait in all;
  /// otherwise what to wait, at least as long as this reply asks for.
  bool next(const HttpReply& response, std::chrono::milliseconds& wait);
  /// The last try brought something: the tries count anew, the waits that were asked for do not.
  void reset() { used_ = 0; }

 private:
  int tries_, used_ = 0;
  std::chrono::milliseconds asked_{0};
};

/// Whether a reply says that trying again may help: 408, 425, 429, 500, 502, 503, 504 or a failure on the way.
bool is_worth_retrying(const HttpReply& response);

/// Retry-After, in seconds or as a date (or what the hub's RateLimit says), at most a day; zero when absent.
std::chrono::milliseconds retry_after(const HttpReply& response);

/// " and asks to wait N s", for a message; empty when the reply does not ask.
std::string asked_wait(const HttpReply& response);

/// Sleeps; false as soon as `cancelled` says so.
bool wait_for(std::chrono::milliseconds time, const std::function<bool()>& cancelled);

}  // namespace mlxk
