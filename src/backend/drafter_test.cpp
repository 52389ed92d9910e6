// Decoding with a draft model against decoding without: the same tokens, the same bits of their log-probabilities, the
// same end.
#include "backend/drafter.h"

#include <gtest/gtest.h>

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

const SmallKind& kFull = kSmallKinds[0];

std::unique_ptr<TextModel> alone(const SmallKind& kind, bool has_state = false) {
  return make_text_model(std::make_unique<SmallModel>(kind.make, has_state));
}

/// A small model whose draft is the same model (seed 0) or another one.
std::unique_ptr<TextModel> drafted(const SmallKind& kind, uint64_t seed, bool always,
                                   PromptLookup lookup = PromptLookup::off, const SmallKind& draft = kFull) {
  return make_text_model(std::make_unique<SmallModel>(kind.make, false),
                         {.prompt_lookup = lookup, .draft_dir = "draft", .draft_tokens = 3, .draft_always = always}, {},
                         [=] { return std::make_unique<SmallModel>(draft.make, false, seed); });
}

class Drafting : public testing::TestWithParam<SmallKind> {
 protected:
  void SetUp() override {
    if (!cpu_is_default()) GTEST_SKIP() << "libmlx's GPU kernels are chosen by the number of rows";
  }
  std::unique_ptr<TextModel> without_ = alone(GetParam());
};

TEST_P(Drafting, OfTheModelItselfIsAlwaysRight) {
  const auto with = drafted(GetParam(), 0, true);
  GenerateRequest request = ask(5, SmallModel::kPoison, 10, 0);
  expect_equal_runs(*with, *without_, {{request}});
  const CacheFacts facts = with->cache_facts();
  EXPECT_GT(facts.drafted_tokens, 0);
  EXPECT_EQ(facts.accepted_tokens, facts.drafted_tokens);
}

TEST_P(Drafting, GivesTheSameAnswerToEachAlone) {
  for (const uint64_t seed : {0, 1}) {
    const auto with = drafted(GetParam(), seed, true);
    for (const auto& request : repeating_requests(SmallModel::kPoison))
      expect_equal_runs(*with, *without_, {{request}});
  }
}

TEST_P(Drafting, GivesTheSameAnswersBesideOthersThatComeAndGo) {
  for (const uint64_t seed : {0, 1}) {
    const auto with = drafted(GetParam(), seed, true);
    std::vector<Arrival> arrivals;
    for (const auto& request : repeating_requests(SmallModel::kPoison)) {
      arrivals.push_back({request, static_cast<int>(2 * arrivals.size())});
    }
    arrivals[2].cancelled_before = 8;
    const auto got = run(*with, arrivals);
    for (size_t i = 0; i < arrivals.size(); ++i) {
      const auto want = run(*without_, {{arrivals[i].request}}).front();
      EXPECT_TRUE(i == 2 || tokens_of(got[i]).size() == tokens_of(want).size());
      expect_same(tokens_of(got[i]), tokens_of(want), i);
    }
    EXPECT_EQ(with->cache_facts().kv_bytes, 0);  // no caches are left
  }
}

TEST_P(Drafting, GivesTheSameAnswersBesidePromptLookupAndWhereItIsUsedOnlyWhenItGains) {
  for (const auto lookup : {PromptLookup::off, PromptLookup::automatic, PromptLookup::on}) {
    const auto with = drafted(GetParam(), 0, lookup == PromptLookup::on, lookup);
    std::vector<Arrival> arrivals;
    for (const auto& request : repeating_requests(SmallModel::kPoison)) {
      arrivals.push_back({request, 30 * static_cast<int>(arrivals.size())});
    }
    expect_equal_runs(*with, *without_, arrivals);
  }
}

TEST_P(Drafting, GrammarsAndTheEndHoldAtEachGuessedToken) {
  const auto with = drafted(GetParam(), 0, true);
  auto request = repeating_requests(SmallModel::kPoison)[2];
  const auto answer = tokens_of(run(*without_, {{request}}).front());
  for (size_t at = 0; at < 9; ++at) {
    auto ended = request, cut = request;
    ended.eos_token_ids = {answer[at].token};
    cut.max_tokens = static_cast<int64_t>(at) + 1;
    expect_equal_runs(*with, *without_, {{cut}});
    const auto got = run(*with, {{ended}}).front(), want = run(*without_, {{ended}}).front();
    EXPECT_EQ(tokens_of(got).size(), tokens_of(want).size());
  }
  const auto held = [&](TextModel& model) {
    request.constraint = std::make_shared<Turning>();
    return tokens_of(run(model, {{request}}).front());
  };
  const auto want = held(*without_), got = held(*with);
  EXPECT_EQ(got.size(), want.size());
  expect_same(got, want, 0);
}

INSTANTIATE_TEST_SUITE_P(Caches, Drafting, testing::ValuesIn(kSmallKinds),
                         [](const auto& info) { return info.param.name; });

// The draft's cache is a ring here, which cannot be trimmed once it has wrapped.
TEST(DrafterCaches, BeyondWhatTheDraftCanForgetThereAreNoGuesses) {
  if (!cpu_is_default()) GTEST_SKIP();
  const auto without = alone(kFull), with = drafted(kFull, 0, true, PromptLookup::off, kSmallKinds[1]);
  const auto requests = repeating_requests(SmallModel::kPoison);
  expect_equal_runs(*with, *without, {{requests[0]}, {requests[1]}, {requests[2]}});
  const auto before = with->cache_facts().drafted_tokens;
  EXPECT_GT(before, 0);
  expect_equal_runs(*with, *without, {{requests[4]}});  // the prompt alone fills the ring
  EXPECT_EQ(with->cache_facts().drafted_tokens, before);
}

TEST(DrafterCaches, AreCountedWhenARequestIsAdmitted) {
  EXPECT_GT(drafted(kFull, 0, false)->kv_bytes(1000), 3 * alone(kFull)->kv_bytes(1000) / 2);
}

TEST(DrafterFacts, AModelThatCannotForgetHasNoDraft) {
  int made = 0;
  const auto has_state = make_text_model(std::make_unique<SmallModel>(kFull.make, true), {}, {}, [&] {
    ++made;
    return std::make_unique<SmallModel>(kFull.make, false);
  });
  EXPECT_EQ(made, 0);
  EXPECT_EQ(has_state->facts().speculative_tokens, 0);
  EXPECT_EQ(has_state->facts().draft_weight_bytes, 0);
}

TEST(DrafterFacts, ADraftThatCannotForgetIsDropped) {
  const auto model = make_text_model(std::make_unique<SmallModel>(kFull.make, false), {}, {}, [] {
    auto draft = std::make_unique<SmallModel>(kFull.make, true);
    draft->set_weights(1000, {});
    return draft;
  });
  EXPECT_GT(model->facts().speculative_tokens, 0);
  EXPECT_EQ(model->facts().draft_weight_bytes, 0);
}

TEST(TrainedDrafting, AModelThatDraftsForItselfGivesTheSameAnswers) {
  const char* models = std::getenv("MLXK_TEST_MODELS");
  const auto folder = fs::path(models ? models : "") / "SmolLM2-135M-Instruct-4bit";
  if (!models || !fs::exists(folder) || !cpu_is_default())
    GTEST_SKIP() << "MLXK_TEST_MODELS names no folder with this model";
  const auto without = make_text_model(load_model(folder, {}));
  const auto with =
      make_text_model(load_model(folder, {}), {.draft_always = true}, {}, [&] { return load_model(folder, {}); });
  std::vector<Arrival> arrivals;
  for (const auto& request : repeating_requests(40000))
    arrivals.push_back({request, 20 * static_cast<int>(arrivals.size())});
  expect_equal_runs(*with, *without, arrivals);
  EXPECT_GT(with->cache_facts().accepted_tokens, 0);
  GenerateRequest longer = ask(300, 40000, 24, 0);
  expect_equal_runs(*with, *without, {{longer}});
}

}  // namespace
}  // namespace mlxk
