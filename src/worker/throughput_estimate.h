#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "worker/event.h"

namespace mlxk {

/// The times at which a running request made progress. One thread.
class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Progress(Clock::time_point started) : started_(started) {}
  /// Takes an event of the request.
  void take(const Event& event, Clock::time_point now);
  /// "after 12 tokens of the answer", for a message.
  std::string text() const;

 private:
  friend class ThroughputEstimate;
  struct Part {
    int64_t done;
    Clock::time_point at;
  };
  Clock::time_point started_;
  std::optional<Part> first_part_, last_part_;  // of the prompt
  Clock::time_point first_token_, last_token_;
  int64_t tokens_ = 0;
};

/// The recent throughput of a model's requests, measured while others ran. One thread.
class ThroughputEstimate {
 public:
  using Clock = std::chrono::steady_clock;

  /// Learns from a request that ended; `usage` may be null (unknown).
  void learn(const Progress& progress, const Usage* usage, Clock::time_point now);
  /// Tokens a second of one request; 0: not measured yet.
  double prefill_tokens_per_s() const { return prefill_.per_second(); }
  double decode_tokens_per_s() const { return decode_.per_second(); }
  /// Seconds from a request's start to its end; 0: not measured yet.
  double request_s() const { return requests_.amount > 0 ? requests_.seconds / requests_.amount : 0; }

 private:
  /// Amounts and the seconds that they took; older ones weigh less.
  struct Measured {
    double amount = 0, seconds = 0;
    void add(double more, double in_seconds);
    double per_second() const { return seconds > 0 ? amount / seconds : 0; }
  };
  Measured prefill_, decode_, requests_;
};

/// Counts events of the last ten seconds. A value type: one thread writes, copies may be read elsewhere.
class RateMeter {
 public:
  using Clock = std::chrono::steady_clock;

  void add(uint64_t amount, Clock::time_point now);
  double per_second(Clock::time_point now) const;

 private:
  static constexpr int64_t kSeconds = 10;
  struct Second {
    int64_t number = 0;
    uint64_t amount = 0;
  };
  std::array<Second, kSeconds> seconds_{};
};

}  // namespace mlxk
