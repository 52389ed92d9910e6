#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "worker/embedding.h"

namespace mlxk {

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
  float logprob = 0;              // if requested
  std::vector<TokenLogprob> top;  // if requested
};
/// The log-probabilities of all prompt tokens but the first; sent once, before the first token, if the request wants
/// them.
struct PromptEvent {
  std::vector<TokenEvent> tokens;
};
enum class FinishReason { stop, length, cancelled };
struct Usage {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;                        // prompt tokens whose keys and values came from a cache
  int64_t image_tokens = 0, audio_tokens = 0;       // prompt tokens that features of images and recordings replace
  int64_t cached_images = 0;                        // images and recordings whose features came from a cache
  int64_t completion_tokens = 0;                    // as sampled, an end-of-sequence token included
  int64_t drafted_tokens = 0, accepted_tokens = 0;  // by speculation
};
struct Timings {
  double first_token_s = 0;  // from the start of prefill
  double decode_s = 0;       // from the first token to the last
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
using Event = std::variant<PrefillEvent, PromptEvent, TokenEvent, VectorEvent, DoneEvent, FailedEvent>;

/// Receives a request's events in order, on the worker thread; must not block or throw. The last is Done or Failed.
using EventSink = std::function<void(const Event&)>;

}  // namespace mlxk
