#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace mlxk {

/// Tokens that may come next in a text, and the length of the match that predicts them.
struct Draft {
  std::vector<int32_t> tokens;
  int matched = 0;
};

/// Finds the earlier occurrence of the end of `text` with the longest match, the newest of equal ones, and returns up
/// to `most` tokens that followed it. Any thread.
Draft ngram_lookup(std::span<const int32_t> text, int most);

/// Drafts for one growing text by n-gram lookup, with their acceptance rates. One thread at a time.
class NgramDrafter {
 public:
  static constexpr int kMax = 7;  // most tokens at a time

  /// Tokens that may follow `text`.
  const Draft& guess(std::span<const int32_t> text);
  /// Compares the last token of `text` with the one that was, or would have been, drafted.
  void learn(std::span<const int32_t> text);
  /// For each n from `first` on: the chance that the first n tokens of guess(text) are all accepted.
  std::vector<double> chances(std::span<const int32_t> text, size_t first = 0);

 private:
  struct Tally {
    double right, all;
  };
  static size_t kind_of(int matched);

  // Rates by match length. The assumed initial rate weighs as much as a few tokens.
  std::array<Tally, 4> tallies_{{{0.5, 2}, {0.8, 2}, {1.2, 2}, {1.6, 2}}};
  Draft guess_;
  size_t guessed_at_ = 0;  // the length of the text that guess_ follows
};

/// The time of a step by the number of positions that it computes. One thread at a time.
class StepCosts {
 public:
  void add(int positions, double seconds);
  /// Measured seconds, or an estimate from the nearest measurement; in an arbitrary unit if nothing was measured.
  double of(int positions) const;
  bool empty() const { return seconds_.empty(); }

 private:
  std::map<int, double> seconds_;
};

/// The number of positions that a step computes for each row, and the expected tokens a second.
struct StepPlan {
  int length = 1;
  double rate = 0;
};

/// The length with the most expected tokens a second, or 1 unless that exceeds the expectation for one position `gain`
/// times. chances[row][n] is the chance that the row's first n + 1 guesses are all accepted. One guess for all rows
/// takes `guess_seconds`.
StepPlan plan_step(std::span<const std::vector<double>> chances, const StepCosts& costs, double gain,
                   double guess_seconds = 0);

}  // namespace mlxk
