#include "backend/speech/rules.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace mlxk {

namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

void forbid(std::span<float> logits, int64_t begin, int64_t end) {
  const auto size = static_cast<int64_t>(logits.size());
  begin = std::clamp<int64_t>(begin, 0, size);
  end = std::clamp<int64_t>(end, begin, size);
  std::fill(logits.begin() + begin, logits.begin() + end, kNever);
}

/// log of the sum of exp; -inf if there is nothing to sum.
float log_sum(std::span<const float> logits) {
  if (logits.empty()) return kNever;
  const float most = *std::max_element(logits.begin(), logits.end());
  if (most == kNever) return kNever;
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x - most));
  return most + static_cast<float>(std::log(sum));
}

void apply_timestamps(const SpeechRules& rules, std::span<const int32_t> tokens, std::span<float> logits) {
  const int32_t first = rules.timestamps;
  const auto size = static_cast<int64_t>(logits.size());
  const auto is_timestamp = [&](int32_t token) { return token >= first; };
  forbid(logits, rules.no_timestamps, rules.no_timestamps + 1);

  const bool after_one = !tokens.empty() && is_timestamp(tokens.back());
  const bool before_too = tokens.size() < 2 || is_timestamp(tokens[tokens.size() - 2]);
  if (after_one && before_too) forbid(logits, first, size);    // a pair is complete
  if (after_one && !before_too) forbid(logits, 0, rules.end);  // its second half, or the end
  const auto last = std::find_if(tokens.rbegin(), tokens.rend(), is_timestamp);
  if (last != tokens.rend()) {
    // Timestamps never go back, and a segment is not empty, which prevents endless loops.
    forbid(logits, first, *last + (after_one && !before_too ? 0 : 1));
  }
  if (tokens.empty()) {
    forbid(logits, 0, first);
    if (rules.max_initial_timestamp >= 0) forbid(logits, first + rules.max_initial_timestamp + 1, size);
  }
  const auto text = logits.first(static_cast<size_t>(first));
  if (log_sum(logits.subspan(static_cast<size_t>(first))) > *std::max_element(text.begin(), text.end()))
    forbid(logits, 0, first);
}

}  // namespace

void apply_rules(const SpeechRules& rules, std::span<const int32_t> tokens, std::span<float> logits) {
  if (tokens.empty()) {
    for (const int32_t id : rules.suppressed_first) forbid(logits, id, id + 1);
  }
  for (const int32_t id : rules.suppressed) forbid(logits, id, id + 1);
  if (rules.with_timestamps && rules.timestamps > 0) apply_timestamps(rules, tokens, logits);
}

}  // namespace mlxk
