#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace mlxk {

/// Tokens that may come next in a text, and how many of its last tokens say so.
struct Draft {
  std::vector<int32_t> tokens;
  int matched = 0;
};

/// What followed when the end of `text` last stood in it before: the place that shares the most tokens with the end,
/// the newest of those, and up to `most` tokens behind it. Any thread.
Draft ngram_lookup(std::span<const int32_t> text, int most);

/// The guesses for one text as it grows, and how often they were right. One thread at a time.
class NgramDrafter {
 public:
  static constexpr int kMax = 7;  // tokens at a time

  /// What may follow `text`.
  const Draft& guess(std::span<const int32_t> text);
  /// Compares the last token of `text` with what was, or would have been, guessed.
  void learn(std::span<const int32_t> text);
  /// Of guess(text), for each n from `first` on: the chance that all up to the n-th are right.
  std::vector<double> chances(std::span<const int32_t> text, size_t first = 0);

 private:
  struct Tally {
    double right, all;
  };
  static size_t kind_of(int matched);

  // By the match's length. What is assumed before anything was seen counts as much as a few tokens.
  std::array<Tally, 4> tallies_{{{0.5, 2}, {0.8, 2}, {1.2, 2}, {1.6, 2}}};
  Draft guess_;
  size_t guessed_at_ = 0;  // tokens of the text that guess_ follows
};

/// What steps take, by the number of positions that they compute. One thread at a time.
class StepCosts {
 public:
  void add(int positions, double seconds);
  /// Seconds as measured, or as the nearest that was measured lets expect; some unit where nothing was.
  double of(int positions) const;
  bool empty() const { return seconds_.empty(); }

 private:
  std::map<int, double> seconds_;
};

/// How many positions a step computes of each row, and the tokens a second that it lets expect.
struct StepPlan {
  int length = 1;
  double rate = 0;
};

/// The length that lets expect the most tokens a second, 1 unless that is `gain` times what one position lets expect.
/// chances[row][n]: that the row's first n + 1 guesses are right. A guess for all rows takes `guess_seconds`.
StepPlan plan_step(std::span<const std::vector<double>> chances, const StepCosts& costs, double gain,
                   double guess_seconds = 0);

}  // namespace mlxk
