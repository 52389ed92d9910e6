#include "sample/sampler.h"

#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <map>

#include "base/testing/test_paths.h"
#include "sample/filters.h"
#include "sample/golden_cases.h"
#include "worker/event.h"
#include "worker/token_constraint.h"

namespace mlxk {
namespace {

namespace mx = mlx::core;

const float kNan = std::numeric_limits<float>::quiet_NaN();
const float kInfinity = std::numeric_limits<float>::infinity();

Json goldens(const std::string& file) { return read_json(std::string(test_tree::kTestData) + "/sample/" + file); }

mx::array row(const std::vector<float>& values) {
  return mx::array(values.begin(), {1, static_cast<int>(values.size())}, mx::float32);
}

std::vector<float> values_of(mx::array x) {
  x = mx::contiguous(x);
  mx::eval(x);
  return {x.data<float>(), x.data<float>() + x.size()};
}

void expect_same(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isinf(want[i])) {
      EXPECT_EQ(got[i], want[i]) << "token " << i;
    } else {
      EXPECT_NEAR(got[i], want[i], 2e-5) << "token " << i;
    }
  }
}

Sampling greedy() {
  Sampling s;
  s.temperature = 0;
  return s;
}

// An unfiltered draw at temperature 1.
Sampling plain_draw(uint64_t seed) {
  Sampling s;
  s.temperature = 1;
  s.top_p = 1;
  s.seed = seed;
  return s;
}

TEST(Penalties, MatchMlxLm) {
  const Json file = goldens("penalties.json");
  for (const Json& one : file.at("cases")) {
    SCOPED_TRACE(one.at("sampling").dump() + " after " + one.at("history").dump());
    const auto logits = golden::floats(file.at("logits").at(one.at("logits").get<std::string>()));
    const auto history = one.at("history").get<std::vector<int32_t>>();
    const auto sampling = golden::sampling(one.at("sampling"));
    const auto want = golden::floats(one.at("penalised"));

    expect_same(values_of(Penalties(sampling, history).apply(row(logits))), want);
    auto in_memory = logits;
    penalise(sampling, history, in_memory);
    expect_same(in_memory, want);
    // The same history, given token by token on the device.
    Penalties fed(sampling, {});
    for (const int32_t id : history) fed.append(mx::array({id}, {1, 1}, mx::int32));
    expect_same(values_of(fed.apply(row(logits))), want);
  }
}

mx::array filtered(const Sampling& s, mx::array x) {
  if (s.top_p < 1) x = keep_top_p(x, s.top_p);
  if (s.min_p > 0) x = keep_min_p(x, s.min_p, s.min_tokens_to_keep);
  if (s.xtc_probability == 1) x = exclude_top_choices(x, s.xtc_threshold, s.xtc_special_tokens);
  if (s.top_k > 0) x = keep_top_k(x, s.top_k);
  return x;
}

TEST(Filters, MatchMlxLm) {
  const Json file = goldens("filters.json");
  for (const Json& one : file.at("cases")) {
    SCOPED_TRACE(one.at("logits").dump() + " " + one.at("sampling").dump());
    const auto logits = row(golden::floats(file.at("logits").at(one.at("logits").get<std::string>())));
    const auto logprobs = mx::subtract(logits, mx::logsumexp(logits, true));
    expect_same(values_of(filtered(golden::sampling(one.at("sampling")), logprobs)),
                golden::floats(one.at("logprobs")));
  }
}

TEST(Filters, KeepEverythingWhereTheLimitIsTheVocabulary) {
  const auto x = row({-1, -2, -3});
  expect_same(values_of(keep_top_k(x, 3)), {-1, -2, -3});
  expect_same(values_of(keep_min_p(x, 1, 4)), {-1, -2, -3});
}

// Every test of the sampler covers both implementations of a step.
class SamplerSteps : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam() && !cpu_is_default()) GTEST_SKIP() << "the one operation is for the CPU";
  }
  Sampler sampler_for(const Sampling& sampling, const std::vector<int32_t>& prompt = {}) const {
    return {sampling, prompt, GetParam()};
  }
};

TEST_P(SamplerSteps, DrawsOnlyWhatMlxLmLeavesAndAllOfIt) {
  const Json file = goldens("filters.json");
  for (const Json& one : file.at("cases")) {
    if (one.at("sampling").size() < 2 || one.at("logits") != "peaked") continue;  // the chains
    SCOPED_TRACE(one.at("sampling").dump());
    const auto logits = row(golden::floats(file.at("logits").at("peaked")));
    const auto want = golden::floats(one.at("logprobs"));
    Sampling sampling = golden::sampling(one.at("sampling"));
    sampling.temperature = 50;  // so that the unlikely tokens come too
    Sampler sampler = sampler_for(sampling);
    std::map<int32_t, int> counts;
    for (int i = 0; i < 600; ++i) ++counts[sampler.sample(logits).value()];
    for (size_t id = 0; id < want.size(); ++id) {
      EXPECT_EQ(counts.count(static_cast<int32_t>(id)) == 1, !std::isinf(want[id])) << "token " << id;
    }
  }
}

TEST_P(SamplerSteps, DrawsFollowTheTemperedDistribution) {
  const std::vector<float> logits{0, 1, 2, 3, -1, -kInfinity};
  const float temperature = 1.5F;
  Sampling sampling = plain_draw(42);
  sampling.temperature = temperature;
  Sampler sampler = sampler_for(sampling);
  const int draws = 4000;
  std::vector<double> counts(6);
  for (int i = 0; i < draws; ++i) counts[static_cast<size_t>(sampler.sample(row(logits)).value())] += 1;
  double total = 0;
  for (const float x : logits) total += std::exp(x / temperature);
  double chi_square = 0;
  for (size_t i = 0; i < 5; ++i) {
    const double expected = draws * std::exp(logits[i] / temperature) / total;
    chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  EXPECT_LT(chi_square, 18.5);  // 4 degrees of freedom, p = 0.001; the seed is fixed
  EXPECT_EQ(counts[5], 0);
}

std::vector<int32_t> draw_many(Sampler& sampler, int count) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back(sampler.sample(mx::zeros({1, 1000})).value());
  return tokens;
}

TEST_P(SamplerSteps, ASeedFixesTheTokensWhateverElseRuns) {
  Sampler alone = sampler_for(plain_draw(7));
  const auto want = draw_many(alone, 20);
  Sampler again = sampler_for(plain_draw(7)), other = sampler_for(plain_draw(8));
  std::vector<int32_t> got, others;
  for (int i = 0; i < 20; ++i) {
    got.push_back(draw_many(again, 1)[0]);
    others.push_back(draw_many(other, 1)[0]);
  }
  EXPECT_EQ(got, want);
  EXPECT_NE(others, want);
}

TEST_P(SamplerSteps, WithoutASeedTwoRequestsDiffer) {
  Sampling s = plain_draw(0);
  s.seed.reset();
  Sampler a = sampler_for(s), b = sampler_for(s);
  EXPECT_NE(draw_many(a, 10), draw_many(b, 10));
}

TEST_P(SamplerSteps, XtcFallsAsOftenAsItsProbability) {
  Sampling s = plain_draw(3);
  s.temperature = 0.01F;  // the likeliest of those that are left
  s.xtc_probability = 0.25F;
  s.xtc_threshold = 0.1F;
  Sampler sampler = sampler_for(s);
  int excluded = 0;
  for (int i = 0; i < 1000; ++i) excluded += sampler.sample(row({2, 1, -9})).value() == 1;
  EXPECT_NEAR(excluded, 250, 50);
}

TEST_P(SamplerSteps, StepsCanBeBuiltBeforeTheyAreEvaluated) {
  Sampling s = greedy();
  s.repetition_penalty = 2;
  s.repetition_context_size = 2;
  const std::vector<int32_t> prompt{0};
  Sampler sampler = sampler_for(s, prompt);
  std::vector<Sample> steps;
  for (int i = 0; i < 6; ++i) steps.push_back(sampler.sample(row({8, 7, 6, 5})));
  std::vector<int32_t> tokens;
  for (const Sample& step : steps) tokens.push_back(step.value());
  EXPECT_EQ(tokens, (std::vector<int32_t>{1, 2, 0, 1, 2, 0}));  // the last two are always penalised
}

TEST_P(SamplerSteps, GreedyTakesTheFirstOfTies) {
  Sampler sampler = sampler_for(greedy());
  EXPECT_EQ(sampler.sample(row({1, 3, 3, 2})).value(), 1);
}

// The number of operations between `logits` and the arrays that the step evaluates.
int operations(const Sample& sampled, const mx::array& logits) {
  std::vector<mx::array> stack = sampled.arrays();
  std::map<std::uintptr_t, bool> seen;
  int count = 0;
  while (!stack.empty()) {
    const mx::array x = stack.back();
    stack.pop_back();
    if (x.id() == logits.id() || !x.has_primitive() || seen[x.id()]) continue;
    seen[x.id()] = true;
    ++count;
    for (const auto& input : x.inputs()) stack.push_back(input);
  }
  return count;
}

TEST_P(SamplerSteps, GreedyAddsThreeOperations) {
  const auto logits = mx::zeros({1, 100});
  Sampler sampler = sampler_for(greedy());
  EXPECT_LE(operations(sampler.sample(logits), logits), 3);
  EXPECT_LE(operations(sampler.sample(logits), logits), 3);
}

TEST_P(SamplerSteps, AStepsGraphDoesNotGrowWithTheAnswer) {
  Sampling s = plain_draw(1);
  s.repetition_penalty = 1.1F;
  Sampler sampler = sampler_for(s);
  const auto logits = mx::zeros({1, 100});
  int first = 0, last = 0;
  for (int i = 0; i < 60; ++i) {
    const Sample sampled = sampler.sample(logits);
    last = operations(sampled, logits);
    if (i == 25) first = last;
    sampled.value();
  }
  EXPECT_EQ(first, last);
}

TEST_P(SamplerSteps, LogprobsAreThoseOfTheUntemperedDistribution) {
  Sampling s = plain_draw(5);
  s.temperature = 0.01F;
  s.top_p = 0.5F;
  Sampler sampler = sampler_for(s);
  const TokenEvent event = sampler.sample(row({0, 3, 1, 2}), nullptr, 3).event();
  const float total = std::log(1 + std::exp(1.0F) + std::exp(2.0F) + std::exp(3.0F));
  EXPECT_EQ(event.token, 1);
  EXPECT_NEAR(event.logprob, 3 - total, 1e-5);
  ASSERT_EQ(event.top.size(), 3);
  EXPECT_EQ(event.top[0].token, 1);
  EXPECT_EQ(event.top[1].token, 3);
  EXPECT_EQ(event.top[2].token, 2);
  EXPECT_NEAR(event.top[2].logprob, 1 - total, 1e-5);
}

TEST_P(SamplerSteps, GivesNoMoreTopLogprobsThanThereAreTokens) {
  Sampler sampler = sampler_for(greedy());
  EXPECT_EQ(sampler.sample(row({0, 1}), nullptr, 5).event().top.size(), 2);
}

// Allows the tokens that it was made with.
struct Only : TokenConstraint {
  explicit Only(std::vector<int32_t> tokens) : ids(std::move(tokens)) {}
  void allowed(std::span<uint32_t> mask) override {
    for (const int32_t id : ids) mask[static_cast<size_t>(id) / 32] |= 1U << (id % 32);
  }
  bool accept(int32_t) override { return true; }
  std::vector<int32_t> ids;
};

TEST_P(SamplerSteps, AConstraintForbidsEvenTheLikeliest) {
  std::vector<float> logits(70);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i);
  Sampler sampler = sampler_for(greedy());
  Only last({4, 63, 69}), middle({4, 63}), nothing({});
  EXPECT_EQ(sampler.sample(row(logits), &last).value(), 69);
  const TokenEvent event = sampler.sample(row(logits), &middle, 0).event();
  EXPECT_EQ(event.token, 63);
  EXPECT_NEAR(event.logprob, 0, 1e-5);  // the likeliest of the allowed tokens
  EXPECT_FALSE(sampler.sample(row(logits), &nothing).finite());
  Sampler drawing = sampler_for(plain_draw(1));
  EXPECT_EQ(drawing.sample(row(logits), &middle).value(), 63);
  EXPECT_FALSE(drawing.sample(row(logits), &nothing).finite());
}

TEST_P(SamplerSteps, ANanAnywhereIsAnErrorAndItsTokenIsSafe) {
  const int vocab = 67;
  for (const Sampling& sampling : {greedy(), plain_draw(1)}) {
    for (const float bad : {kNan, kInfinity}) {
      for (const int place : {0, 1, 15, 31, 33, 64, 66}) {
        std::vector<float> logits(vocab, 1);
        logits[static_cast<size_t>(place)] = bad;
        Sampler sampler = sampler_for(sampling);
        const Sample sampled = sampler.sample(row(logits));
        EXPECT_FALSE(sampled.finite()) << bad << " at " << place << ", temperature " << sampling.temperature;
        EXPECT_GE(sampled.token().data<int32_t>()[0], 0);
        EXPECT_LT(sampled.token().data<int32_t>()[0], vocab);
      }
    }
  }
}

TEST_P(SamplerSteps, TakesHalfPrecision) {
  Sampler sampler = sampler_for(greedy());
  EXPECT_EQ(sampler.sample(mx::astype(row({1, 4, 2}), mx::bfloat16)).value(), 1);
}

TEST_P(SamplerSteps, RefusesLogitsThatAnIdIsPast) {
  const std::vector<int32_t> prompt{1, 3}, negative{-1};
  Sampler sampler = sampler_for(greedy(), prompt);
  EXPECT_TRUE(sampler.sample(mx::zeros({1, 4})).finite());
  EXPECT_THROW(sampler.sample(mx::zeros({1, 3})), Error);
  EXPECT_THROW(sampler.sample(mx::zeros({4})), Error);
  EXPECT_THROW(sampler_for(greedy(), negative), Error);
}

INSTANTIATE_TEST_SUITE_P(Sampler, SamplerSteps, testing::Bool(),
                         [](const auto& info) { return info.param ? "OneOperation" : "Chain"; });

}  // namespace
}  // namespace mlxk
