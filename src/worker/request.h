#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "worker/event.h"
#include "worker/media.h"
#include "worker/sampling.h"
#include "worker/token_constraint.h"

namespace mlxk {

/// One completion: token ids in, token ids out. Text never crosses to the worker.
struct GenerateRequest {
  std::vector<int32_t> prompt;               // not empty; every id is checked against the embedding's rows
  std::vector<MediaItem> media;              // in the order of the prompt
  std::vector<TokenRange> attend_both_ways;  // of the prompt; each is computed in one piece
  Sampling sampling;
  int64_t max_tokens = 0;  // at least 1
  std::vector<int32_t> eos_token_ids;
  int top_logprobs = -1;  // -1: none; 0: of the chosen token; n: also the n likeliest
  std::shared_ptr<TokenConstraint> constraint;
  bool prompt_logprobs = false;  // also of the prompt's tokens (PromptEvent), with top_logprobs as above
  std::string cache_scope;       // cached prefixes are shared only within one scope (an API key)
  std::optional<std::chrono::steady_clock::time_point> deadline;  // ends with a failure `deadline` when it passes
  bool max_tokens_named = true;  // false: a default, which does not predict the length of the answer
};

}  // namespace mlxk
