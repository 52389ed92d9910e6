#include "worker/throughput_estimate.h"

#include <fmt/format.h>

#include "base/elapsed.h"

namespace mlxk {

namespace {

// The factor by which older measurements lose weight with every request.
constexpr double kMemory = 0.9;
// The time of a shorter prompt does not predict that of a long one.
constexpr int64_t kShortestPrompt = 128;

int64_t second_of(std::chrono::steady_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

}  // namespace

void Progress::take(const Event& event, Clock::time_point now) {
  if (const auto* part = std::get_if<PrefillEvent>(&event)) {
    last_part_ = {part->done, now};
    if (!first_part_) first_part_ = last_part_;
  } else if (std::holds_alternative<TokenEvent>(event)) {
    if (tokens_++ == 0) first_token_ = now;
    last_token_ = now;
  }
}

std::string Progress::text() const {
  if (tokens_ > 0) return fmt::format("after {} tokens of the answer", tokens_);
  return fmt::format("after {} tokens of the prompt", last_part_ ? last_part_->done : 0);
}

void ThroughputEstimate::Measured::add(double more, double in_seconds) {
  amount = amount * kMemory + more;
  seconds = seconds * kMemory + in_seconds;
}

void ThroughputEstimate::learn(const Progress& progress, const Usage* usage, Clock::time_point now) {
  if (progress.last_part_) {
    // Only at the end is it known how much of the first part came from a cache.
    const auto end = *progress.last_part_;
    const auto begin = usage ? Progress::Part{usage->cached_tokens, progress.started_} : *progress.first_part_;
    if (end.done - begin.done >= kShortestPrompt && end.at > begin.at) {
      prefill_.add(static_cast<double>(end.done - begin.done), seconds(end.at - begin.at));
    }
  }
  if (progress.tokens_ > 1) {
    decode_.add(static_cast<double>(progress.tokens_ - 1), seconds(progress.last_token_ - progress.first_token_));
  }
  requests_.add(1, seconds(now - progress.started_));
}

void RateMeter::add(uint64_t amount, Clock::time_point now) {
  const int64_t number = second_of(now);
  Second& second = seconds_[static_cast<size_t>(number % kSeconds)];
  if (second.number != number) second = {number, 0};
  second.amount += amount;
}

double RateMeter::per_second(Clock::time_point now) const {
  const int64_t number = second_of(now);
  uint64_t all = 0;
  for (const Second& second : seconds_) all += number - second.number < kSeconds ? second.amount : 0;
  return static_cast<double>(all) / kSeconds;
}

}  // namespace mlxk
