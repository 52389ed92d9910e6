#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "backend/cache_layout.h"
#include "backend/running_completion.h"
#include "backend/speculation.h"
#include "models/model.h"
#include "sample/sampler.h"

namespace mlxk {

/// A second, smaller model that drafts tokens for the completions of the first. It has its own caches, which drop wrong
/// guesses and catch up with tokens that were decoded without it. Worker thread.
class Drafter {
 public:
  /// `model` drafts at most `most` tokens at a time for `first`. With `always` it does so even if it is wrong too
  /// often.
  Drafter(std::unique_ptr<Model> model, const Model& first, int most, bool always = false);

  /// Whether to draft without regard to the gain: `always` is set, or the first drafts must still show their cost.
  bool insists() const;
  uint64_t weight_bytes() const { return model_->weight_bytes(); }
  /// The longest text that it can draft for; 0: its caches cannot be trimmed.
  int64_t longest_text() const { return longest_text_; }
  /// Most bytes of the caches for one completion of `tokens` tokens; bytes of all caches now.
  uint64_t kv_bytes(int64_t tokens) const { return layout_.row_bytes(tokens + most_); }
  uint64_t kv_bytes() const;

  /// For each n the chance that its first n guesses for `one` are all accepted. Empty if it should not draft: it was
  /// wrong too often, cannot trim, or would have to catch up with more tokens than pays off at `step_seconds` a token
  /// without it.
  std::vector<double> chances(const RunningCompletion& one, double step_seconds);
  /// The time of a guess for each of `rows` completions. If none was measured, it is derived from the draft's share of
  /// the first model's weights, a step of which takes `step_seconds`.
  double seconds(int rows, double step_seconds) const;

  struct Row {
    const RunningCompletion* completion;
    std::vector<int32_t> guesses = {};
  };
  /// Drafts `count` tokens for each row, at most the number given to the constructor. A row that is still catching up
  /// gets none; a part of its backlog is processed. Waits.
  void guess(std::span<Row> rows, int count);
  /// Records whether one of its guesses for `one` was accepted.
  void learn(const RunningCompletion& one, bool right);
  void forget(const RunningCompletion& one) { states_.erase(&one); }

 private:
  /// The acceptance rate, in which older guesses count less.
  struct Tally {
    double right, all;
    double rate() const { return right / all; }
    void add(bool is_right, double memory);
  };
  struct State {
    ModelCache cache;
    Sampler greedy;
    std::vector<int32_t> seen;  // tokens in the cache
    Tally tally;
    size_t tried_at = 0;     // the length of the text at its last draft
    size_t retry_after = 0;  // tokens
    bool unusable = false;
  };

  State& state_of(const RunningCompletion& one);
  bool catch_up(State& state, const std::vector<int32_t>& text, size_t& budget);

  std::unique_ptr<Model> model_;
  const int most_;
  const int64_t vocab_;  // ids that both models have
  const double share_;   // the draft's share of the first model's weights
  const bool always_;
  CacheLayout layout_;
  int64_t longest_text_;
  std::map<const RunningCompletion*, State> states_;
  Tally all_;                    // over all completions; a new one starts with it
  uint64_t begun_ = 0;           // completions
  int trials_ = 0;               // guesses for any row
  StepCosts costs_;              // seconds of a guess, by rows
  double catch_up_seconds_ = 0;  // seconds of a token; 0: not measured yet
};

}  // namespace mlxk
