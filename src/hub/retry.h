#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "http/client.h"

namespace mlxk {

/// The longest total wait that servers may ask for before a download gives up.
constexpr std::chrono::milliseconds kLongestAskedWait{180'000};

/// The delays between retries of a request: longer each time, with jitter so that many clients do not return at once.
/// One thread.
class Backoff {
 public:
  explicit Backoff(int tries) : tries_(tries) {}
  /// Sets `wait` to the next delay, at least that of the reply's Retry-After; false if all tries are used up, or the
  /// waits that replies ask for exceed kLongestAskedWait in all.
  bool next(const HttpReply& response, std::chrono::milliseconds& wait);
  /// Resets the number of tries after one that brought data; the total of asked waits stays.
  void reset() { used_ = 0; }

 private:
  int tries_, used_ = 0;
  std::chrono::milliseconds asked_{0};
};

/// Whether a retry may help: 408, 425, 429, 500, 502, 503, 504 or a network failure.
bool is_worth_retrying(const HttpReply& response);

/// The value of Retry-After, in seconds or as a date, or of the hub's RateLimit; at most a day; zero if absent.
std::chrono::milliseconds retry_after(const HttpReply& response);

/// " and asks to wait N s", for a message; empty if the reply does not ask.
std::string asked_wait(const HttpReply& response);

/// Sleeps; returns false as soon as `cancelled` is true.
bool wait_for(std::chrono::milliseconds time, const std::function<bool()>& cancelled);

}  // namespace mlxk
