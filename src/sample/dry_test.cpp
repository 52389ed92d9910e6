#include "sample/dry.h"

#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "sample/sampler.h"

namespace mlxk {
namespace {

namespace mx = mlx::core;

constexpr size_t kVocab = 8;

Sampling with_dry(float multiplier = 1, float base = 2, int allowed = 2) {
  Sampling s;
  s.temperature = 0;
  s.dry_multiplier = multiplier;
  s.dry_base = base;
  s.dry_allowed_length = allowed;
  return s;
}

std::vector<float> penalties(const Sampling& sampling, const std::vector<int32_t>& history) {
  std::vector<float> logits(kVocab, 0);
  penalise_repetitions(sampling, history, logits);
  for (float& x : logits) x = -x;
  return logits;
}

// Compares every place with the end, token by token.
std::vector<float> by_comparison(const Sampling& s, std::vector<int32_t> history) {
  std::vector<float> result(kVocab, 0);
  if (s.dry_penalty_last_n == 0) return result;
  if (s.dry_penalty_last_n > 0 && history.size() > static_cast<size_t>(s.dry_penalty_last_n)) {
    history.erase(history.begin(), history.end() - s.dry_penalty_last_n);
  }
  const int n = static_cast<int>(history.size());
  int limit = n;
  for (int start = n - 1; start >= 0 && limit == n; --start) {
    int longest = 0;
    for (const auto& breaker : s.dry_breakers) {
      const int size = static_cast<int>(breaker.size());
      bool found = start + size <= n;
      for (int i = 0; found && i < size; ++i)
        found = history[static_cast<size_t>(start + i)] == breaker[static_cast<size_t>(i)];
      if (found) longest = std::max(longest, size);
    }
    if (longest > 0) {
      limit = n - start - longest;
      break;
    }
  }
  std::map<int32_t, int> lengths;
  for (int next = 1; next < n; ++next) {
    int length = 0;
    while (length < next && length < limit &&
           history[static_cast<size_t>(next - 1 - length)] == history[static_cast<size_t>(n - 1 - length)]) {
      ++length;
    }
    if (length >= s.dry_allowed_length) {
      int& longest = lengths[history[static_cast<size_t>(next)]];
      longest = std::max(longest, length);
    }
  }
  for (const auto& [token, length] : lengths) {
    const bool breaks =
        std::find(s.dry_breakers.begin(), s.dry_breakers.end(), std::vector<int32_t>{token}) != s.dry_breakers.end();
    if (!breaks && n > s.dry_allowed_length) {
      result[static_cast<size_t>(token)] =
          s.dry_multiplier * std::pow(s.dry_base, static_cast<float>(length - s.dry_allowed_length));
    }
  }
  return result;
}

TEST(Dry, PenalisesWhatWouldGoOnWithARepetition) {
  // "1 2 3" appeared, then "1 2" again: 3 would make the repetition longer.
  EXPECT_EQ(penalties(with_dry(0.8F), {1, 2, 3, 4, 1, 2}), (std::vector<float>{0, 0, 0, 0.8F, 0, 0, 0, 0}));
  EXPECT_EQ(penalties(with_dry(0.8F), {0, 1, 2, 3, 4, 0, 1, 2}), (std::vector<float>{0, 0, 0, 1.6F, 0, 0, 0, 0}));
  EXPECT_EQ(penalties(with_dry(), {1, 2, 3, 4, 5, 2}), std::vector<float>(kVocab, 0)) << "one token is allowed";
  EXPECT_EQ(penalties(with_dry(), {}), std::vector<float>(kVocab, 0));
  EXPECT_EQ(penalties(with_dry(0), {1, 2, 3, 1, 2}), std::vector<float>(kVocab, 0));
}

TEST(Dry, LooksAtTheLastTokensOnly) {
  Sampling s = with_dry();
  s.dry_penalty_last_n = 5;
  EXPECT_EQ(penalties(s, {1, 2, 3, 4, 1, 2}), std::vector<float>(kVocab, 0));
  s.dry_penalty_last_n = 6;
  EXPECT_EQ(penalties(s, {1, 2, 3, 4, 1, 2})[3], 1);
}

TEST(Dry, ABreakerEndsARepetition) {
  Sampling s = with_dry();
  s.dry_breakers = {{1}};
  EXPECT_EQ(penalties(s, {1, 2, 3, 4, 1, 2}), std::vector<float>(kVocab, 0));
  s.dry_breakers = {{3}};
  EXPECT_EQ(penalties(s, {1, 2, 3, 4, 1, 2}), std::vector<float>(kVocab, 0)) << "it may come again itself";
  s.dry_breakers = {{1, 2}};
  EXPECT_EQ(penalties(s, {1, 2, 3, 4, 1, 2}), std::vector<float>(kVocab, 0));
  s.dry_breakers = {{2, 1}};
  EXPECT_EQ(penalties(s, {1, 2, 3, 4, 1, 2})[3], 1);
}

TEST(Dry, AgreesWithComparisonTokenByToken) {
  std::mt19937 random(3);
  int penalised = 0;
  for (int round = 0; round < 5000; ++round) {
    Sampling s = with_dry(0.5F, 1.25F, 1 + static_cast<int>(random() % 3));
    s.dry_penalty_last_n = random() % 3 == 0 ? static_cast<int>(random() % 20) : -1;
    for (uint32_t i = random() % 3; i > 0; --i) {
      s.dry_breakers.emplace_back();
      for (uint32_t k = 1 + random() % 3; k > 0; --k)
        s.dry_breakers.back().push_back(static_cast<int32_t>(random() % 4));
    }
    std::sort(s.dry_breakers.begin(), s.dry_breakers.end());
    std::vector<int32_t> history(random() % 40);
    for (int32_t& token : history) token = static_cast<int32_t>(random() % (2 + round % 4));
    const auto got = penalties(s, history), want = by_comparison(s, history);
    for (size_t i = 0; i < kVocab; ++i)
      ASSERT_NEAR(got[i], want[i], 1e-4 * (1 + want[i])) << "round " << round << " token " << i;
    penalised += std::count_if(want.begin(), want.end(), [](float x) { return x > 0; }) > 0;
  }
  EXPECT_GT(penalised, 1000);
}

TEST(Dry, ALongLoopIsFiniteAndQuick) {
  const std::vector<int32_t> loop(200'000, 3);
  const auto got = penalties(with_dry(), loop);
  EXPECT_TRUE(std::isfinite(got[3]));
  EXPECT_GT(got[3], 1e30F);
}

// Both implementations of a sampler, one operation and a chain, with tokens that it chose itself.
TEST(Dry, ASamplerBreaksALoop) {
  for (const bool one_operation : {true, false}) {
    const std::vector<int32_t> prompt{1, 2, 3, 4, 1, 2};
    Sampler sampler(with_dry(3), prompt, one_operation);
    std::vector<float> row{0, 0, 0, 5, 4.5F, 0, 0, 0};
    const mx::array logits(row.begin(), {1, static_cast<int>(kVocab)}, mx::float32);
    EXPECT_EQ(sampler.sample(logits).value(), 4) << "3 would repeat 1 2 3";
    EXPECT_EQ(sampler.sample(logits).value(), 3);
    Sampler free(with_dry(0), prompt, one_operation);
    EXPECT_EQ(free.sample(logits).value(), 3);
  }
}

}  // namespace
}  // namespace mlxk
