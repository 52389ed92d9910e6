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

/// One request on its way: its caches, its sampler, what it has given so far. Worker thread.
class RunningCompletion {
 public:
  /// A `request` that was checked.
  RunningCompletion(Model& model, GenerateRequest request);

  /// Whether all of the prompt but its last token, which is the first decode step's input, is in the caches, and all
  /// that was asked about it is told.
  bool prefilled() const { return prefilled_ == usage_.prompt_tokens - 1 && !owes_scores_; }
  const GenerateRequest& request() const { return request_; }
  /// The prompt's key in the prefix cache.
  const PrefixKey& key() const { return key_; }
  /// Added to the positions in the cache of all that is decoded.
  int position_shift() const { return media_.position_shift(); }
  /// Tokens of the prompt that are in the caches.
  int64_t prefilled_tokens() const { return prefilled_; }
  PrefillEvent progress() const { return {prefilled_, usage_.prompt_tokens}; }
  /// Whether `kept` prompts can be a part of this one.
  bool shares(const PrefixCache& kept) const { return kept.on() && key_.shareable; }
  /// Begins with what `kept` has of the prompt, where that is more than what is there; returns whether it is.
  bool restore(PrefixCache& kept);
  /// Says that the caches after so many tokens of the prompt are wanted by others.
  void stop_at(int64_t tokens) { stops_.insert(tokens); }
  /// Appends about `most` tokens of the prompt to the caches, waits, keeps them in `kept` and hands the events to
  /// `sink`, also a Failed of this request alone. Where these tokens need an image or a recording that is not encoded
  /// yet, computes a stage of that instead.
  void prefill(Model& model, PrefixCache& kept, MediaCache& media, int64_t most,
               const std::function<void(const Event&)>& sink);
  /// The prompt and the answer so far.
  const std::vector<int32_t>& text() const { return text_; }
  ModelCache& cache() { return cache_; }

  /// What it wants of a step that chooses its next token from row `row` of logits with `vocab` columns; throws what its
  /// grammar throws.
  SamplerRow wanted(int row, int vocab);
  /// Tokens that it may still give.
  int64_t tokens_left() const { return limit_ - usage_.completion_tokens; }
  /// Whether a token that is being computed leaves room for another.
  bool goes_on() const { return usage_.completion_tokens + 1 < limit_; }
  /// Waits for the next token and hands its events to `sink`; the last is Done or Failed where the completion ends.
  void take(const Sample& sample, const std::function<void(const Event&)>& sink);
  /// Counts guesses of its tokens, and those of them that were right.
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
  ModelCache cache_;
  Sampler sampler_;
  int64_t limit_;
  int64_t prefilled_ = 0;
  bool owes_scores_;
  std::vector<TokenEvent> scores_;  // of the prompt's tokens, when asked for
  bool looked_up_ = false;
  std::set<int64_t> stops_;  // where the state is to be kept, where one is needed
  bool ended_ = false;
  Usage usage_;
  Timings timings_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point first_token_;
};

}  // namespace mlxk
