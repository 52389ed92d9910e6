#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"

namespace mlxk {

/// How the next token is chosen, in mlx-lm's order: logit bias and penalties (DRY last) on the logits, log-softmax,
/// then top-p → min-p → XTC → top-k on the untempered log-probabilities, then a draw at `temperature` (0: argmax).
struct Sampling {
  float temperature = 0.7F;
  float top_p = 0.9F;  // (0, 1]; 1 switches it off
  float min_p = 0.0F;  // [0, 1]
  int min_tokens_to_keep = 1;
  int top_k = 0;  // 0 switches it off
  float xtc_probability = 0.0F;
  float xtc_threshold = 0.0F;
  std::vector<int32_t> xtc_special_tokens;  // never excluded by XTC
  float repetition_penalty = 1.0F;
  int repetition_context_size = 20;
  float presence_penalty = 0.0F;
  int presence_context_size = 20;
  float frequency_penalty = 0.0F;
  int frequency_context_size = 20;
  // DRY: tokens that would go on with a repetition longer than allowed (sample/dry.h).
  float dry_multiplier = 0.0F;                     // 0 switches it off
  float dry_base = 1.75F;                          // at least 1
  int dry_allowed_length = 2;                      // at least 1
  int dry_penalty_last_n = -1;                     // so many recent tokens are looked at; -1: all, 0: none
  std::vector<std::vector<int32_t>> dry_breakers;  // token sequences that end what counts as repeated; ascending
  std::vector<std::pair<int32_t, float>> logit_bias;
  std::optional<uint64_t> seed;  // absent: a fresh one each time
};

/// Restricts the next token (a grammar). Called on the worker thread only.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;
  /// Sets bit i of `mask` (ceil(vocab / 32) words) for every token id allowed next.
  virtual void allowed(std::span<uint32_t> mask) = 0;
  /// Takes the chosen token; false when it breaks the grammar.
  virtual bool accept(int32_t token) = 0;
};

/// One completion: token ids in, token ids out. Text never crosses the queue.
struct GenerateRequest {
  std::vector<int32_t> prompt;  // not empty; every id is checked against the embedding's rows
  Sampling sampling;
  int64_t max_tokens = 0;  // at least 1
  std::vector<int32_t> eos_token_ids;
  int top_logprobs = -1;  // -1: none; 0: of the chosen token; n: also the n likeliest
  std::shared_ptr<TokenConstraint> constraint;
  bool prompt_logprobs = false;  // also of the prompt's tokens (PromptEvent), with top_logprobs as above
  std::string cache_scope;       // cached prefixes are shared only within one scope (an API key)
  std::optional<std::chrono::steady_clock::time_point> deadline;  // ends with a failure `deadline` when it passes
  bool max_tokens_named = true;  // false: a default, which says nothing of how long the answer will take
};

struct TokenLogprob {
  int32_t token;
  float logprob;
};

/// A part of the prompt was processed.
struct PrefillEvent {
  int64_t done, total;
};
/// A token was chosen (never an end-of-sequence token).
struct TokenEvent {
  int32_t token;
  float logprob = 0;              // when asked for
  std::vector<TokenLogprob> top;  // when asked for
};
/// The log-probabilities of the prompt's tokens but the first, once, before the first token; only when asked for.
struct PromptEvent {
  std::vector<TokenEvent> tokens;
};
enum class FinishReason { stop, length, cancelled };
struct Usage {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;                      // of the prompt, those whose keys and values were there already
  int64_t completion_tokens = 0;                  // as sampled, an end-of-sequence token included
  int64_t guessed_tokens = 0, right_guesses = 0;  // of those that speculation proposed
};
struct Timings {
  double first_token_s = 0;  // from start of prefill
  double decode_s = 0;       // from first token to last
  double queued_s = 0;       // from submit to the start of prefill
};
struct DoneEvent {
  FinishReason reason;
  Usage usage;
  Timings timings;
};
struct FailedEvent {
  ErrorKind kind;
  std::string message;
  double retry_after_s = 0;  // 0: unknown
};
using Event = std::variant<PrefillEvent, PromptEvent, TokenEvent, DoneEvent, FailedEvent>;

/// Receives a request's events in order, on the worker thread; must not block or throw. The last is Done or Failed.
using EventSink = std::function<void(const Event&)>;

}  // namespace mlxk
