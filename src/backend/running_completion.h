#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <set>
#include <vector>

#include "backend/media_prompt.h"
#include "backend/prefix_cache.h"
#include "backend/prefix_key.h"
#include "models/model.h"
#include "sample/sampler.h"
#include "worker/request.h"

namespace mlxk {

/// One request being computed: its caches, its sampler, its output so far. Worker thread.
class RunningCompletion {
 public:
  /// `request` was checked.
  RunningCompletion(Model& model, GenerateRequest request);

  /// Whether the prompt is done: the caches hold all of it but the last token, which is the first decode step's input,
  /// and all requested prompt scores are delivered.
  bool prefilled() const { return prefilled_ == input_tokens_ - 1 && !owes_scores_ && !owes_prompt_; }
  const GenerateRequest& request() const { return request_; }
  /// The prompt's key in the prefix cache.
  const PrefixKey& key() const { return key_; }
  /// The offset added to the cache positions of all decoded tokens.
  int position_shift() const { return media_.position_shift(); }
  /// The number of prompt tokens in the caches.
  int64_t prefilled_tokens() const { return prefilled_; }
  PrefillEvent progress() const { return {prefilled_, input_tokens_}; }
  /// Whether `kept` can hold a prefix of this prompt.
  bool shares(const PrefixCache& kept) const { return kept.on() && key_.shareable && !encodes_prompt_; }
  /// Restores the prefix that `kept` holds if it is longer than the tokens already in the caches; returns whether it
  /// did.
  bool restore(PrefixCache& kept);
  /// Marks `tokens` of the prompt as a position at which other requests want the caches saved.
  void stop_at(int64_t tokens) { stops_.insert(tokens); }
  /// Appends about `most` tokens of the prompt to the caches, waits, saves them in `kept` and hands the events to
  /// `sink`, including a Failed of this request alone. If these tokens need an image or a recording that is not encoded
  /// yet, it computes one stage of the encoder instead.
  void prefill(Model& model, PrefixCache& kept, MediaCache& media, int64_t most,
               const std::function<void(const Event&)>& sink);
  /// What the decoder reads: the prompt, or the first token of an encoder-decoder, and the answer so far.
  const std::vector<int32_t>& text() const { return text_; }
  ModelCache& cache() { return cache_; }

  /// The sampling of its next token from row `row` of logits with `vocab` columns; throws what its grammar throws.
  SamplerRow wanted(int row, int vocab);
  /// The number of tokens that it may still generate.
  int64_t tokens_left() const { return limit_ - usage_.completion_tokens; }
  /// Whether it may continue after a token that is still being computed.
  bool goes_on() const { return usage_.completion_tokens + 1 < limit_; }
  /// Waits for the next token and hands its events to `sink`; the last event is Done or Failed.
  void take(const Sample& sample, const std::function<void(const Event&)>& sink);
  /// Counts drafted and accepted tokens.
  void count_guesses(int64_t guessed, int64_t right) {
    usage_.drafted_tokens += guessed;
    usage_.accepted_tokens += right;
  }
  /// Hands a failure of this request alone to `sink`.
  void fail(const std::string& message, const std::function<void(const Event&)>& sink);
  /// Whether Done or Failed was handed out.
  bool ended() const { return ended_; }
  DoneEvent done(FinishReason reason) const;

 private:
  using Clock = std::chrono::steady_clock;

  Inputs inputs_of(int64_t begin, int64_t end);

  const GenerateRequest request_;
  const PrefixKey key_;
  MediaPrompt media_;
  std::vector<int32_t> text_;
  const int64_t input_tokens_;  // of `text_`: what the decoder reads before its answer
  const bool encodes_prompt_ = media_.owes_prompt();
  bool owes_prompt_ = encodes_prompt_;
  ModelCache cache_;
  Sampler sampler_;
  int64_t limit_;
  int64_t prefilled_ = 0;
  bool owes_scores_;
  std::vector<TokenEvent> scores_;  // of the prompt's tokens, if requested
  bool looked_up_ = false;
  std::set<int64_t> stops_;  // where the state is to be saved, if one is needed
  bool ended_ = false;
  Usage usage_;
  Timings timings_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point first_token_;
};

}  // namespace mlxk
