#include "serving/token_runs.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "worker/testing/fake_backend.h"
#include "worker/testing/recorder.h"
#include "worker/worker.h"

namespace mlxk {
namespace {

class TokenRuns : public ::testing::Test {
 protected:
  std::shared_ptr<testing::FakeCounters> counters_ = std::make_shared<testing::FakeCounters>();
  Worker worker_{[this] { return std::make_unique<testing::FakeBackend>(counters_); }};
  std::shared_ptr<const ModelHandle> model_ = worker_.load(ModelKind::text, "present");
};

bool never() { return false; }

TEST_F(TokenRuns, GivesTheTokensOfEachRequest) {
  const auto runs = run_tokens(worker_, model_, {testing::ask(0, 3), testing::ask(0, 5)}, never);
  ASSERT_EQ(runs.size(), 2U);
  EXPECT_EQ(runs[0].tokens.size(), 3U);
  EXPECT_EQ(runs[1].tokens.size(), 5U);
  EXPECT_EQ(runs[1].tokens[4].token, 4);
  EXPECT_EQ(runs[1].done.usage.prompt_tokens, 3);
}

TEST_F(TokenRuns, ThrowsTheEnginesFailure) {
  EXPECT_THROW(run_tokens(worker_, model_, {testing::ask(0), testing::ask(testing::kFailAlone)}, never), Error);
}

TEST_F(TokenRuns, EndsWhenAskedTo) {
  try {
    run_tokens(worker_, model_, {testing::ask(testing::kEndless)}, [] { return true; });
    FAIL() << "went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::cancelled);
  }
}

TEST(TokenDifference, IsTheFirstThatIsNotTheSame) {
  const std::vector<TokenEvent> one = {{1, -1, {}}, {2, -2, {}}}, other = {{1, -1.5F, {}}, {3, -1, {}}};
  EXPECT_FALSE(first_difference(one, one));
  const auto difference = first_difference(one, other);
  ASSERT_TRUE(difference);
  EXPECT_EQ(difference->index, 1U);
  EXPECT_EQ(difference->first->token, 2);
  EXPECT_EQ(difference->second->logprob, -1);
  EXPECT_FLOAT_EQ(largest_logprob_gap(one, other), 0.5F);
  const auto shorter = first_difference(one, std::span(other).first(1));
  ASSERT_TRUE(shorter);
  EXPECT_EQ(shorter->first->token, 2);
  EXPECT_FALSE(shorter->second);
}

TEST(TokenDifference, AGapOfNoNumberIsNoNumber) {
  const std::vector<TokenEvent> one = {{1, -1, {}}}, other = {{1, std::nanf(""), {}}};
  EXPECT_TRUE(std::isnan(largest_logprob_gap(one, other)));
}

}  // namespace
}  // namespace mlxk
