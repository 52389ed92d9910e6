// Sequences decoded together against each one decoded alone: the same tokens and the same bits of their
// log-probabilities, whichever others join, leave, fail or are cancelled meanwhile.
#include <gtest/gtest.h>
#include <mlx/memory.h>

#include <cstdlib>
#include <filesystem>

#include "backend/generation.h"
#include "backend/testing/runs.h"
#include "backend/testing/small_model.h"
#include "models/load.h"
#include "worker/token_constraint.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

/// Runs each request alone, then all together, and expects equal results; a cancelled request must give the same
/// beginning.
void expect_independent(TextModel& model, const std::vector<Arrival>& arrivals) {
  const auto together = run(model, arrivals);
  for (size_t i = 0; i < arrivals.size(); ++i) {
    Arrival alone = arrivals[i];
    const bool cancelled = alone.cancelled_before < (1 << 30);
    alone.at = 0;
    alone.cancelled_before = 1 << 30;
    const auto events = run(model, {alone}).front();
    const auto got = tokens_of(together[i]), want = tokens_of(events);
    ASSERT_FALSE(want.empty());
    if (!cancelled) {
      EXPECT_EQ(got.size(), want.size()) << "request " << i;
      EXPECT_EQ(together[i].back().index(), events.back().index());
    }
    expect_same(got, want, i);
  }
}

/// The requests of a busy moment: greedy and sampled, penalised, with short and long prompts (which are split
/// differently beside others than alone), starting and ending at different times.
std::vector<Arrival> busy(int64_t vocab, int64_t longest) {
  std::vector<Arrival> all;
  const int64_t lengths[] = {longest / 2, 1, 7, longest, 2, longest / 3};
  for (int i = 0; i < 6; ++i) {
    Arrival one{ask(lengths[i], vocab, 6 + 3 * i, i), 2 * i};
    if (i % 2 == 1) {
      one.request.sampling.temperature = 0.8F;
      one.request.sampling.seed = static_cast<uint64_t>(i);
    }
    if (i == 3) one.request.sampling.repetition_penalty = 1.3F;
    all.push_back(std::move(one));
  }
  all[4].cancelled_before = 14;
  return all;
}

class Batching : public testing::TestWithParam<SmallKind> {
 protected:
  void SetUp() override {
    if (!cpu_is_default()) GTEST_SKIP() << "libmlx's GPU kernels are chosen by the number of rows";
    model_ = make_text_model(std::make_unique<SmallModel>(GetParam().make, true));
  }
  std::unique_ptr<TextModel> model_;
};

TEST_P(Batching, ARequestsBitsDoNotDependOnTheOthers) { expect_independent(*model_, busy(SmallModel::kPoison, 300)); }

TEST_P(Batching, ARowWhoseLogitsAreNotFiniteFailsAlone) {
  std::vector<Arrival> arrivals{{ask(5, SmallModel::kPoison, 12, 1)}, {ask(9, SmallModel::kPoison, 12, 2)}};
  Arrival poisoned{ask(3, SmallModel::kPoison, 12, 3), 4};
  poisoned.request.prompt.push_back(SmallModel::kPoison);
  arrivals.push_back(poisoned);
  const auto events = run(*model_, arrivals);
  ASSERT_TRUE(std::holds_alternative<FailedEvent>(events[2].back()));
  EXPECT_NE(std::get<FailedEvent>(events[2].back()).message.find("not finite"), std::string::npos);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(std::holds_alternative<DoneEvent>(events[i].back()));
    expect_same(tokens_of(events[i]), tokens_of(run(*model_, {arrivals[i]}).front()), i);
  }
}

/// Allows even tokens only; fails or throws at its n-th token.
class EvenTokens : public TokenConstraint {
 public:
  EvenTokens(int breaks_at, int throws_at) : breaks_at_(breaks_at), throws_at_(throws_at) {}
  void allowed(std::span<uint32_t> mask) override {
    if (taken_ == throws_at_) throw std::runtime_error("a grammar that is lost");
    for (auto& word : mask) word = 0x55555555U;
  }
  bool accept(int32_t token) override { return token % 2 == 0 && ++taken_ != breaks_at_; }

 private:
  int breaks_at_, throws_at_, taken_ = 0;
};

TEST_P(Batching, GrammarsHoldForTheirOwnRowAndBreakAlone) {
  std::vector<Arrival> arrivals;
  for (int i = 0; i < 4; ++i) arrivals.push_back({ask(4 + i, SmallModel::kPoison, 10, i), i});
  arrivals[1].request.constraint = std::make_shared<EvenTokens>(-1, -1);
  arrivals[2].request.constraint = std::make_shared<EvenTokens>(3, -1);
  arrivals[3].request.constraint = std::make_shared<EvenTokens>(-1, 2);
  const auto events = run(*model_, arrivals);
  EXPECT_EQ(tokens_of(events[0]).size(), 10);
  EXPECT_EQ(tokens_of(events[1]).size(), 10);
  for (const auto& token : tokens_of(events[1])) EXPECT_EQ(token.token % 2, 0);
  EXPECT_EQ(tokens_of(events[2]).size(), 3);
  EXPECT_NE(std::get<FailedEvent>(events[2].back()).message.find("breaks the grammar"), std::string::npos);
  EXPECT_EQ(std::get<FailedEvent>(events[3].back()).message, "a grammar that is lost");
  arrivals[0].at = 0;
  expect_same(tokens_of(events[0]), tokens_of(run(*model_, {arrivals[0]}).front()), 0);
}

TEST_P(Batching, NothingIsLeftOnceAllAreGone) {
  size_t idle = 0;
  for (int round = 0; round < 3; ++round) {
    std::vector<Arrival> arrivals = busy(SmallModel::kPoison, 40);
    for (auto& one : arrivals) one.cancelled_before = 12;  // some in the prompt, some between two tokens
    run(*model_, arrivals);
    if (round == 0) idle = mx::get_active_memory();
    EXPECT_EQ(mx::get_active_memory(), idle);
  }
}

INSTANTIATE_TEST_SUITE_P(Caches, Batching, testing::ValuesIn(kSmallKinds),
                         [](const auto& info) { return info.param.name; });

class TrainedBatching : public testing::TestWithParam<const char*> {};

TEST_P(TrainedBatching, ARequestsBitsDoNotDependOnTheOthers) {
  const char* models = std::getenv("MLXK_TEST_MODELS");
  const auto folder = fs::path(models ? models : "") / GetParam();
  if (!models || !fs::exists(folder)) GTEST_SKIP() << "MLXK_TEST_MODELS names no folder with this model";
  const auto model = make_text_model(load_model(folder, {}));
  expect_independent(*model, busy(40000, 700));
}

INSTANTIATE_TEST_SUITE_P(Models, TrainedBatching, testing::Values("SmolLM2-135M-Instruct-4bit", "gemma-3-270m-8bit"),
                         [](const auto& info) { return info.index == 0 ? "SmolLM2" : "Gemma3"; });

}  // namespace
}  // namespace mlxk
