#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace mlxk {

/// A Prometheus histogram.
class Histogram {
 public:
  void observe(double seconds);
  /// Lines `name_bucket{labels,le="…"} n` … `name_sum`, `name_count`.
  void append(std::string& out, std::string_view name, std::string_view labels) const;

 private:
  static constexpr std::array kBounds{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0};
  std::array<uint64_t, kBounds.size() + 1> counts_{};  // the last: longer than all bounds
  double sum_ = 0;
};

/// The tokens and times of an answer, over all its choices.
struct AnswerCost {
  int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
  double queued_s = 0, first_token_s = 0;  // of the first choice
};

/// The counters of a server since its start. Any thread.
class Metrics {
 public:
  /// Counts a complete answer to `route` (a pattern of the table, never a client's path).
  void count_request(std::string_view route, int status, double seconds, uint64_t bytes);
  void count_answer(const AnswerCost& cost);
  /// Counts a recording of `audio_s` seconds that was transcribed in `took_s`.
  void count_recording(double audio_s, double took_s);
  /// Prometheus' text format.
  std::string text() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, uint64_t> requests_;
  std::map<std::string, Histogram, std::less<>> seconds_;
  uint64_t sent_bytes_ = 0, prompt_tokens_ = 0, cached_tokens_ = 0, completion_tokens_ = 0;
  Histogram queued_, first_token_;
  double audio_s_ = 0, transcription_s_ = 0;
  Histogram real_time_factor_;
};

}  // namespace mlxk
