// Decoding with speculation against decoding without: the same tokens, the same bits of their log-probabilities, the
// same end.
#include "backend/speculation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "backend/generation.h"
#include "backend/testing/runs.h"
#include "backend/testing/small_model.h"
#include "backend/testing/speculation.h"
#include "models/load.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

TEST(PromptLookup, ProposesWhatFollowedTheLongestMatch) {
  const std::vector<int32_t> text{1, 2, 3, 4, 9, 3, 5, 1, 2, 3};
  const Draft guess = ngram_lookup(text, 3);
  EXPECT_EQ(guess.tokens, (std::vector<int32_t>{4, 9, 3}));
  EXPECT_EQ(guess.matched, 3);
}

TEST(PromptLookup, OfEqualMatchesTheNewestCounts) {
  EXPECT_EQ(ngram_lookup(std::vector<int32_t>{7, 1, 8, 7, 2, 9, 7}, 1).tokens, (std::vector<int32_t>{2}));
}

TEST(PromptLookup, ARunOfOneTokenGoesOn) {
  EXPECT_EQ(ngram_lookup(std::vector<int32_t>{4, 4, 4}, 5).tokens, (std::vector<int32_t>{4}));
}

TEST(PromptLookup, ProposesNothingForWhatIsNew) {
  EXPECT_TRUE(ngram_lookup(std::vector<int32_t>{1, 2, 3}, 5).tokens.empty());
  EXPECT_TRUE(ngram_lookup(std::vector<int32_t>{1}, 5).tokens.empty());
  EXPECT_TRUE(ngram_lookup(std::vector<int32_t>{1, 1}, 0).tokens.empty());
}

TEST(NgramDrafter, LearnsHowOftenItIsRight) {
  NgramDrafter guesser;
  std::vector<int32_t> text;
  const auto first_chance = [&] { return guesser.chances(text).front(); };
  for (int i = 0; i < 40; ++i) text.push_back(i % 4);
  const double before = first_chance();
  for (int i = 0; i < 40; ++i) {
    text.push_back(i % 4);
    guesser.learn(text);
  }
  EXPECT_GT(first_chance(), before);
  EXPECT_GT(first_chance(), 0.9);
  const auto chances = guesser.chances(text);
  EXPECT_TRUE(std::is_sorted(chances.rbegin(), chances.rend()));
}

TEST(StepCosts, WhatWasNotMeasuredFollowsTheNearestThatWas) {
  StepCosts costs;
  costs.add(1, 0.004);
  EXPECT_GT(costs.of(4), costs.of(1));
  costs.add(8, 0.1);
  EXPECT_GT(costs.of(7), 0.08);
  EXPECT_LT(costs.of(2), 0.01);
  for (int i = 0; i < 50; ++i) costs.add(8, 0.02);
  EXPECT_NEAR(costs.of(8), 0.02, 0.001);
}

TEST(PlanStep, WeighsWhatGuessesGiveAgainstWhatTheyCost) {
  StepCosts costs;
  costs.add(1, 1);
  costs.add(2, 1.1);
  costs.add(3, 1.8);
  costs.add(4, 2);
  const std::vector<std::vector<double>> unlikely{{0.05, 0.01, 0.001}}, likely{{0.95, 0.9, 0.85}},
      middling{{0.5, 0.25, 0.1}};
  EXPECT_EQ(plan_step(unlikely, costs, 1.03).length, 1);
  EXPECT_EQ(plan_step(middling, costs, 1.03).length, 2);
  EXPECT_EQ(plan_step(likely, costs, 1.03).length, 4);
  costs.add(2, 5);
  for (int i = 0; i < 30; ++i) costs.add(2, 5);
  EXPECT_EQ(plan_step(middling, costs, 1.03).length, 1);
}

std::unique_ptr<TextModel> small(const SmallKind& kind, PromptLookup lookup, bool has_state = false) {
  return make_text_model(std::make_unique<SmallModel>(kind.make, has_state), {.prompt_lookup = lookup});
}

class Speculation : public testing::TestWithParam<SmallKind> {
 protected:
  void SetUp() override {
    if (!cpu_is_default()) GTEST_SKIP() << "libmlx's GPU kernels are chosen by the number of rows";
  }
  std::unique_ptr<TextModel> with_ = small(GetParam(), PromptLookup::on),
                             without_ = small(GetParam(), PromptLookup::off);
};

TEST_P(Speculation, GivesTheSameAnswerToEachAlone) {
  for (const auto& request : repeating_requests(SmallModel::kPoison)) expect_equal_runs(*with_, *without_, {{request}});
  EXPECT_GT(with_->cache_facts().drafted_tokens, 0);
  EXPECT_EQ(without_->cache_facts().drafted_tokens, 0);
}

TEST_P(Speculation, GivesTheSameAnswersBesideOthersThatComeAndGo) {
  std::vector<Arrival> arrivals;
  for (const auto& request : repeating_requests(SmallModel::kPoison)) {
    arrivals.push_back({request, static_cast<int>(2 * arrivals.size())});
  }
  arrivals[2].cancelled_before = 8;
  const auto got = run(*with_, arrivals);
  for (size_t i = 0; i < arrivals.size(); ++i) {
    const auto want = run(*without_, {{arrivals[i].request}}).front();
    EXPECT_TRUE(i == 2 || tokens_of(got[i]).size() == tokens_of(want).size());
    expect_same(tokens_of(got[i]), tokens_of(want), i);
  }
}

TEST_P(Speculation, GivesTheSameAnswersWhereItIsUsedOnlyWhenItGains) {
  const auto automatic = small(GetParam(), PromptLookup::automatic);
  std::vector<Arrival> arrivals;
  for (const auto& request : repeating_requests(SmallModel::kPoison))
    arrivals.push_back({request, 30 * static_cast<int>(arrivals.size())});
  expect_equal_runs(*automatic, *without_, arrivals);
}

INSTANTIATE_TEST_SUITE_P(Caches, Speculation, testing::ValuesIn(kSmallKinds),
                         [](const auto& info) { return info.param.name; });

TEST_P(Speculation, GrammarsHoldAtEachGuessedToken) {
  auto request = repeating_requests(SmallModel::kPoison)[2];
  const auto answer = [&](TextModel& model) {
    request.constraint = std::make_shared<Turning>();
    return tokens_of(run(model, {{request}}).front());
  };
  const auto want = answer(*without_), got = answer(*with_);
  EXPECT_EQ(got.size(), want.size());
  expect_same(got, want, 0);
}

TEST_P(Speculation, TheEndMayLieAmongGuesses) {
  const auto request = repeating_requests(SmallModel::kPoison)[0];
  const auto answer = tokens_of(run(*without_, {{request}}).front());
  for (size_t at = 0; at < 12; ++at) {
    auto ended = request, cut = request;
    ended.eos_token_ids = {answer[at].token};
    cut.max_tokens = static_cast<int64_t>(at) + 1;
    expect_equal_runs(*with_, *without_, {{cut}});
    const auto got = run(*with_, {{ended}}).front(), want = run(*without_, {{ended}}).front();
    EXPECT_EQ(tokens_of(got).size(), tokens_of(want).size());
    EXPECT_EQ(std::get<DoneEvent>(got.back()).usage.completion_tokens,
              std::get<DoneEvent>(want.back()).usage.completion_tokens);
  }
}

class TrainedSpeculation : public testing::TestWithParam<const char*> {};

TEST_P(TrainedSpeculation, GivesTheSameAnswers) {
  const char* models = std::getenv("MLXK_TEST_MODELS");
  const auto folder = fs::path(models ? models : "") / GetParam();
  if (!models || !fs::exists(folder)) GTEST_SKIP() << "MLXK_TEST_MODELS names no folder with this model";
  const auto without = make_text_model(load_model(folder, {}));
  for (const auto lookup : {PromptLookup::on, PromptLookup::automatic}) {
    const auto with = make_text_model(load_model(folder, {}), {.prompt_lookup = lookup});
    std::vector<Arrival> arrivals;
    for (const auto& request : repeating_requests(40000))
      arrivals.push_back({request, 20 * static_cast<int>(arrivals.size())});
    expect_equal_runs(*with, *without, arrivals);
    EXPECT_GT(with->cache_facts().accepted_tokens, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, TrainedSpeculation, testing::Values("SmolLM2-135M-Instruct-4bit", "gemma-3-270m-8bit"),
                         [](const auto& info) { return info.index == 0 ? "SmolLM2" : "Gemma3"; });

TEST(SpeculationWithStates, IsOff) {
  const auto with = small(kSmallKinds[0], PromptLookup::on, true),
             without = small(kSmallKinds[0], PromptLookup::off, true);
  expect_equal_runs(*with, *without, {{repeating_requests(SmallModel::kPoison)[0]}});
  EXPECT_EQ(with->cache_facts().drafted_tokens, 0);
}

}  // namespace
}  // namespace mlxk
