#include "server/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace mlxk {

namespace {
void describe(std::string& out, std::string_view name, std::string_view type, std::string_view help) {
  fmt::format_to(std::back_inserter(out), "# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
}

template <class Number>
void counter(std::string& out, std::string_view name, std::string_view help, Number value) {
  describe(out, name, "counter", help);
  fmt::format_to(std::back_inserter(out), "{} {}\n", name, value);
}
}  // namespace

void Histogram::observe(double seconds) {
  const auto bound = std::lower_bound(kBounds.begin(), kBounds.end(), seconds);
  ++counts_[static_cast<size_t>(bound - kBounds.begin())];
  sum_ += seconds;
}

void Histogram::append(std::string& out, std::string_view name, std::string_view labels) const {
  const auto to = std::back_inserter(out);
  const std::string_view comma = labels.empty() ? "" : ",";
  uint64_t total = 0;
  for (size_t i = 0; i < kBounds.size(); ++i) {
    total += counts_[i];
    fmt::format_to(to, "{}_bucket{{{}{}le=\"{}\"}} {}\n", name, labels, comma, kBounds[i], total);
  }
  total += counts_.back();
  fmt::format_to(to, "{}_bucket{{{}{}le=\"+Inf\"}} {}\n", name, labels, comma, total);
  const std::string braced = labels.empty() ? "" : fmt::format("{{{}}}", labels);
  fmt::format_to(to, "{0}_sum{1} {2}\n{0}_count{1} {3}\n", name, braced, sum_, total);
}

void Metrics::count_request(std::string_view route, int status, double seconds, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  ++requests_[{std::string(route), status}];
  seconds_[std::string(route)].observe(seconds);
  sent_bytes_ += bytes;
}

void Metrics::count_answer(const AnswerCost& cost) {
  const std::lock_guard lock(mutex_);
  prompt_tokens_ += static_cast<uint64_t>(cost.prompt_tokens);
  cached_tokens_ += static_cast<uint64_t>(cost.cached_tokens);
  completion_tokens_ += static_cast<uint64_t>(cost.completion_tokens);
  queued_.observe(cost.queued_s);
  if (cost.completion_tokens > 0) first_token_.observe(cost.first_token_s);
}

void Metrics::count_recording(double audio_s, double took_s) {
  const std::lock_guard lock(mutex_);
  audio_s_ += audio_s;
  transcription_s_ += took_s;
  if (audio_s > 0) real_time_factor_.observe(took_s / audio_s);
}

std::string Metrics::text() const {
  const std::lock_guard lock(mutex_);
  std::string out;
  describe(out, "mlxk_requests_total", "counter", "Answered requests by route and status.");
  for (const auto& [key, count] : requests_) {
    fmt::format_to(std::back_inserter(out), "mlxk_requests_total{{route=\"{}\",status=\"{}\"}} {}\n", key.first,
                   key.second, count);
  }
  describe(out, "mlxk_request_seconds", "histogram", "Time from a request's head to the end of its answer.");
  for (const auto& [route, seconds] : seconds_) {
    seconds.append(out, "mlxk_request_seconds", fmt::format("route=\"{}\"", route));
  }
  counter(out, "mlxk_sent_bytes_total", "Bytes of answers.", sent_bytes_);
  counter(out, "mlxk_prompt_tokens_total", "Tokens of prompts.", prompt_tokens_);
  counter(out, "mlxk_cached_tokens_total", "Tokens of prompts whose keys and values were there already.",
          cached_tokens_);
  counter(out, "mlxk_completion_tokens_total", "Tokens that were generated.", completion_tokens_);
  describe(out, "mlxk_queued_seconds", "histogram", "Time from submission to the start of prefill.");
  queued_.append(out, "mlxk_queued_seconds", "");
  describe(out, "mlxk_first_token_seconds", "histogram", "Time from the start of prefill to the first token.");
  first_token_.append(out, "mlxk_first_token_seconds", "");
  counter(out, "mlxk_audio_seconds_total", "Seconds of recordings that were transcribed.", audio_s_);
  counter(out, "mlxk_transcribing_seconds_total", "Seconds that their transcription took.", transcription_s_);
  describe(out, "mlxk_real_time_factor", "histogram", "Time that a recording's transcription took, by its length.");
  real_time_factor_.append(out, "mlxk_real_time_factor", "");
  return out;
}

}  // namespace mlxk
