#include "worker/sampling_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "worker/sampling.h"

namespace mlxk {
namespace {

template <class Value>
[[noreturn]] void refuse(const char* field, const char* rule, Value value) {
  throw Error(ErrorKind::invalid, fmt::format("[sampling] {} must be {}, got {}", field, rule, value));
}

// NaN fails every comparison, so each rule states what is allowed.
void require(bool allowed, const char* field, const char* rule, float value) {
  if (!allowed) refuse(field, rule, value);
}

void require_at_least(int least, const char* field, const char* rule, int value) {
  if (value < least) refuse(field, rule, value);
}

void check_id(const char* field, int32_t id, int64_t vocab_size) {
  if (id < 0 || (vocab_size > 0 && id >= vocab_size)) {
    throw Error(ErrorKind::invalid, vocab_size > 0 ? fmt::format("[sampling] {} names token {}, the vocabulary has {}",
                                                                 field, id, vocab_size)
                                                   : fmt::format("[sampling] {} names token {}", field, id));
  }
}

}  // namespace

void check_sampling(const Sampling& s, int64_t vocab_size) {
  require(s.temperature >= 0 && std::isfinite(s.temperature), "temperature", "a number of at least 0", s.temperature);
  require(s.top_p > 0 && s.top_p <= 1, "top_p", "above 0 and at most 1", s.top_p);
  require(s.min_p >= 0 && s.min_p <= 1, "min_p", "from 0 to 1", s.min_p);
  require_at_least(1, "min_tokens_to_keep", "at least 1", s.min_tokens_to_keep);
  require_at_least(0, "top_k", "at least 0", s.top_k);
  require(s.xtc_probability >= 0 && s.xtc_probability <= 1, "xtc_probability", "from 0 to 1", s.xtc_probability);
  require(s.xtc_threshold >= 0 && s.xtc_threshold <= 0.5F, "xtc_threshold", "from 0 to 0.5", s.xtc_threshold);
  require(s.repetition_penalty >= 0 && std::isfinite(s.repetition_penalty), "repetition_penalty",
          "a number of at least 0", s.repetition_penalty);
  require(std::isfinite(s.presence_penalty), "presence_penalty", "a finite number", s.presence_penalty);
  require(std::isfinite(s.frequency_penalty), "frequency_penalty", "a finite number", s.frequency_penalty);
  require_at_least(0, "repetition_context_size", "at least 0", s.repetition_context_size);
  require_at_least(0, "presence_context_size", "at least 0", s.presence_context_size);
  require_at_least(0, "frequency_context_size", "at least 0", s.frequency_context_size);
  require(s.dry_multiplier >= 0 && std::isfinite(s.dry_multiplier), "dry_multiplier", "a number of at least 0",
          s.dry_multiplier);
  require(s.dry_base >= 1 && std::isfinite(s.dry_base), "dry_base", "a number of at least 1", s.dry_base);
  require_at_least(1, "dry_allowed_length", "at least 1", s.dry_allowed_length);
  require_at_least(-1, "dry_penalty_last_n", "at least -1", s.dry_penalty_last_n);
  for (const auto& breaker : s.dry_breakers) {
    require_at_least(1, "dry_breakers", "of at least 1 token each", static_cast<int>(breaker.size()));
  }
  if (!std::is_sorted(s.dry_breakers.begin(), s.dry_breakers.end())) {
    throw Error(ErrorKind::invalid, "[sampling] dry_breakers must be ascending");
  }
  for (const int32_t id : s.xtc_special_tokens) check_id("xtc_special_tokens", id, vocab_size);
  for (const auto& [id, bias] : s.logit_bias) {
    check_id("logit_bias", id, vocab_size);
    require(std::isfinite(bias), "logit_bias", "a finite number", bias);
  }
}

}  // namespace mlxk
