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

/// A second, smaller model that guesses what completions of the first go on with. It has caches of its own, which
/// forget guesses that were wrong and catch up with what was decoded without it. Worker thread.
class Drafter {
 public:
  /// `model` guesses for `first`, `most` tokens at a time; where `always`, also when it is wrong too often.
  Drafter(std::unique_ptr<Model> model, const Model& first, int most, bool always = false);

  /// Whether it is to guess whatever that may gain: it always is, or the first guesses must show what they cost.
  bool insists() const;
  uint64_t weight_bytes() const { return model_->weight_bytes(); }
  /// Tokens of a text up to which it can guess; 0: its caches cannot forget.
  int64_t longest_text() const { return longest_text_; }
  /// Of one completion of so many tokens, at most; and of all that there are, now.
  uint64_t kv_bytes(int64_t tokens) const { return layout_.row_bytes(tokens + most_); }
  uint64_t kv_bytes() const;

  /// For each n the chance that its first n guesses for `one` are right; empty where it is not to guess: it was wrong
  /// too often, cannot, or would have to catch up with more than can be gained at `step_seconds` a token without it.
  std::vector<double> chances(const RunningCompletion& one, double step_seconds);
  /// What a guess for each of so many completions takes; where none was measured by its share of the
  /// first model's weights, a step of which takes `step_seconds`.
  double seconds(int rows, double step_seconds) const;

  struct Row {
    const RunningCompletion* completion;
    std::vector<int32_t> guesses = {};
  };
  /// Guesses `count` tokens of each row, at most as many as the constructor said; none of those that must still catch
  /// up, of which a piece is done. Waits.
  void guess(std::span<Row> rows, int count);
  /// Whether one of its guesses for `one` was right.
  void learn(const RunningCompletion& one, bool right);
  void forget(const RunningCompletion& one) { states_.erase(&one); }

 private:
  /// How often guesses were right; what is longer ago counts less.
  struct Tally {
    double right, all;
    double rate() const { return right / all; }
    void add(bool is_right, double memory);
  };
  struct State {
    ModelCache cache;
    Sampler greedy;
    std::vector<int32_t> seen;  // the tokens in the cache
    Tally tally;
    size_t tried_at = 0;     // tokens of the text when it last guessed
    size_t retry_after = 0;  // tokens
    bool unusable = false;
  };

  State& state_of(const RunningCompletion& one);
  bool catch_up(State& state, const std::vector<int32_t>& text, size_t& budget);

  std::unique_ptr<Model> model_;
  const int most_;
  const int64_t vocab_;  // ids that both models have
  const double share_;   // of the first model's weights
  const bool always_;
  CacheLayout layout_;
  int64_t longest_text_;
  std::map<const RunningCompletion*, State> states_;
  Tally all_;                    // of all completions: what a new one begins with
  uint64_t begun_ = 0;           // completions
  int trials_ = 0;               // guesses of any rows
  StepCosts costs_;              // of a guess, by rows
  double catch_up_seconds_ = 0;  // of a token; 0: not measured yet
};

}  // namespace mlxk
