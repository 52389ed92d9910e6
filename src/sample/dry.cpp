#include "sample/dry.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <vector>

namespace mlxk {
namespace {

using Breakers = std::vector<std::vector<int32_t>>;  // ascending

/// The length in tokens of the longest breaker that `tokens` begin with; 0: none.
size_t breaker_at(const Breakers& breakers, std::span<const int32_t> tokens) {
  size_t longest = 0;
  const auto before = [](const std::vector<int32_t>& breaker, int32_t token) { return breaker.front() < token; };
  auto breaker = std::lower_bound(breakers.begin(), breakers.end(), tokens.front(), before);
  for (; breaker != breakers.end() && breaker->front() == tokens.front(); ++breaker) {
    if (breaker->size() <= tokens.size() && std::equal(breaker->begin(), breaker->end(), tokens.begin())) {
      longest = std::max(longest, breaker->size());
    }
  }
  return longest;
}

/// The number of tokens after the latest breaker.
size_t unbroken(const Breakers& breakers, std::span<const int32_t> tokens) {
  for (size_t start = tokens.size(); start-- > 0;) {
    const size_t size = breaker_at(breakers, tokens.subspan(start));
    if (size > 0) return tokens.size() - start - size;
  }
  return tokens.size();
}

/// For each i, the length of the longest common suffix of the tokens that end before i and of all tokens: the Z
/// function from the end.
std::vector<size_t> repeated_before(std::span<const int32_t> tokens) {
  const size_t n = tokens.size();
  const auto back = [&](size_t i) { return tokens[n - 1 - i]; };
  std::vector<size_t> result(n, 0);
  for (size_t i = 1, begin = 0, end = 0; i < n; ++i) {
    size_t length = i < end ? std::min(end - i, result[n - (i - begin)]) : 0;
    while (i + length < n && back(length) == back(i + length)) ++length;
    result[n - i] = length;
    if (i + length > end) {
      begin = i;
      end = i + length;
    }
  }
  return result;
}

}  // namespace

void penalise_repetitions(const Sampling& sampling, std::span<const int32_t> history, std::span<float> logits) {
  const auto allowed = static_cast<size_t>(sampling.dry_allowed_length);
  if (sampling.dry_multiplier == 0 || sampling.dry_penalty_last_n == 0) return;
  if (sampling.dry_penalty_last_n > 0) {
    history = history.last(std::min(history.size(), static_cast<size_t>(sampling.dry_penalty_last_n)));
  }
  const size_t most = unbroken(sampling.dry_breakers, history);
  if (history.size() <= allowed || most < allowed) return;

  std::unordered_map<int32_t, size_t> lengths;  // the longest repetition that a token would continue
  const std::vector<size_t> repeated = repeated_before(history);
  for (size_t i = 1; i < history.size(); ++i) {
    const size_t length = std::min(repeated[i], most);
    if (length < allowed) continue;
    size_t& longest = lengths[history[i]];
    longest = std::max(longest, length);
  }
  for (const auto& [token, length] : lengths) {
    if (breaker_at(sampling.dry_breakers, std::span(&token, 1)) == 1) continue;
    const double penalty = static_cast<double>(sampling.dry_multiplier) *
                           std::pow(static_cast<double>(sampling.dry_base), static_cast<double>(length - allowed));
    // An infinite penalty would turn a forbidden token's logit into NaN.
    logits[static_cast<size_t>(token)] -=
        static_cast<float>(std::min(penalty, static_cast<double>(std::numeric_limits<float>::max()) / 4));
  }
}

}  // namespace mlxk
