#include "backend/speculation.h"

#include <algorithm>
#include <iterator>

namespace mlxk {

namespace {

// Longer matches are not more reliable.
constexpr size_t kLongestMatch = 8;
// With every token, older observations lose this much weight.
constexpr double kMemory = 0.95;

}  // namespace

// The text is read from end to end each time: far cheaper than a step that attends to as many tokens.
Draft ngram_lookup(std::span<const int32_t> text, int most) {
  if (text.size() < 2 || most < 1) return {};
  const int32_t last = text.back();
  size_t longest = 0, behind = 0;
  for (size_t end = text.size() - 1; end > longest && longest < kLongestMatch; --end) {
    if (text[end - 1] != last) continue;
    size_t matched = 1;
    while (matched < std::min(end, kLongestMatch) && text[end - 1 - matched] == text[text.size() - 1 - matched])
      ++matched;
    if (matched <= longest) continue;
    longest = matched;
    behind = end;
  }
  if (longest == 0) return {};
  const auto next = text.subspan(behind, std::min(static_cast<size_t>(most), text.size() - behind));
  return {{next.begin(), next.end()}, static_cast<int>(longest)};
}

size_t NgramDrafter::kind_of(int matched) { return matched >= 5 ? 3 : matched >= 3 ? 2 : matched == 2 ? 1 : 0; }

const Draft& NgramDrafter::guess(std::span<const int32_t> text) {
  if (guessed_at_ != text.size()) {
    guess_ = ngram_lookup(text, kMax);
    guessed_at_ = text.size();
  }
  return guess_;
}

void NgramDrafter::learn(std::span<const int32_t> text) {
  const Draft& before = guess(text.first(text.size() - 1));
  if (before.tokens.empty()) return;
  Tally& tally = tallies_[kind_of(before.matched)];
  tally.right = kMemory * tally.right + (before.tokens.front() == text.back() ? 1 : 0);
  tally.all = kMemory * tally.all + 1;
}

std::vector<double> NgramDrafter::chances(std::span<const int32_t> text, size_t first) {
  const Draft& next = guess(text);
  std::vector<double> all;
  double chance = 1;
  for (size_t n = 0; n < next.tokens.size(); ++n) {
    // An accepted token makes the match longer for the next one.
    const Tally& tally = tallies_[kind_of(next.matched + static_cast<int>(n))];
    chance *= tally.right / tally.all;
    if (n >= first) all.push_back(chance);
  }
  return all;
}

void StepCosts::add(int positions, double seconds) {
  constexpr double kNew = 0.2, kMaxMore = 2;  // other tokens may have come in between
  const auto known = seconds_.find(positions);
  if (known == seconds_.end()) {
    seconds_[positions] = seconds;
  } else {
    known->second += kNew * (std::min(seconds, kMaxMore * known->second) - known->second);
  }
}

double StepCosts::of(int positions) const {
  // Measured for 4-bit models on a CPU: beyond reading the weights, a further position costs a quarter of a single one.
  const auto shape = [](int count) { return 3.0 + count; };
  if (seconds_.empty()) return shape(positions);
  auto nearest = seconds_.lower_bound(positions);
  if (nearest == seconds_.end() || (nearest->first != positions && nearest != seconds_.begin())) {
    const auto below = std::prev(nearest);
    if (nearest == seconds_.end() || positions - below->first <= nearest->first - positions) nearest = below;
  }
  return nearest->second * shape(positions) / shape(nearest->first);
}

StepPlan plan_step(std::span<const std::vector<double>> chances, const StepCosts& costs, double gain,
                   double guess_seconds) {
  const auto rows = static_cast<int>(chances.size());
  size_t longest = 0;
  for (const auto& row : chances) longest = std::max(longest, row.size());
  double expected = rows;
  StepPlan best{1, rows / costs.of(rows)};
  double most = gain * best.rate;
  for (size_t n = 0; n < longest; ++n) {
    for (const auto& row : chances) expected += n < row.size() ? row[n] : 0;
    const int length = static_cast<int>(n) + 2;
    const double rate = expected / (costs.of(rows * length) + guess_seconds * static_cast<double>(n + 1));
    if (rate <= most) continue;
    most = rate;
    best = {length, rate};
  }
  return best;
}

}  // namespace mlxk
