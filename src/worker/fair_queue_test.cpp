#include "worker/fair_queue.h"

#include <gtest/gtest.h>

#include "worker/mailbox.h"
#include "worker/worker.h"

namespace mlxk {
namespace {

class FairQueueTest : public ::testing::Test {
 protected:
  void add(const std::string& scope, int64_t number, int model = 0) {
    Job job;
    job.model = models_[model];
    job.scope = scope;
    job.prompt_tokens = number;
    line_.add(std::move(job));
  }
  int64_t take(const std::function<bool(const Job&)>& can_run = [](const Job&) { return true; }) {
    const Job* next = line_.next(can_run);
    return next ? line_.take(next).prompt_tokens : -1;
  }

  std::shared_ptr<const ModelHandle> models_[2] = {
      std::make_shared<const ModelHandle>(1, ModelFacts{}, std::make_shared<Mailbox>()),
      std::make_shared<const ModelHandle>(2, ModelFacts{}, std::make_shared<Mailbox>())};
  FairQueue line_;
};

TEST_F(FairQueueTest, GivesEachScopeItsTurn) {
  for (const int number : {1, 2, 3}) add("a", number);
  add("b", 10);
  EXPECT_EQ(take(), 1);
  add("c", 20);
  EXPECT_EQ(take(), 10);
  EXPECT_EQ(take(), 2);
  add("b", 11);  // a scope that comes back is after the others
  EXPECT_EQ(take(), 20);
  EXPECT_EQ(take(), 3);
  EXPECT_EQ(take(), 11);
  EXPECT_EQ(take(), -1);
}

TEST_F(FairQueueTest, PassesOverWhatCannotRun) {
  add("a", 1);
  add("a", 2, 1);
  add("b", 3);
  const auto second_model = [&](const Job& job) { return job.model == models_[1]; };
  EXPECT_EQ(take(second_model), 2);
  EXPECT_EQ(take(second_model), -1);
  EXPECT_EQ(line_.size(), 2U);
}

TEST_F(FairQueueTest, KnowsHowManyGoBeforeANewOne) {
  EXPECT_EQ(line_.ahead_of_new("a", 1), 0U);
  for (const int number : {1, 2, 3}) add("a", number);
  add("a", 4, 1);
  add("b", 10);
  EXPECT_EQ(line_.count(1), 4U);
  EXPECT_EQ(line_.count(2), 1U);
  EXPECT_EQ(line_.ahead_of_new("a", 1), 4U);
  EXPECT_EQ(line_.ahead_of_new("b", 1), 3U);  // 1, 10 and 2
  EXPECT_EQ(line_.ahead_of_new("c", 1), 2U);
  EXPECT_EQ(line_.ahead_of_new("c", 2), 1U);
}

TEST_F(FairQueueTest, DropsTheLastOfTheScopeThatHasMost) {
  for (const int number : {1, 2}) add("a", number);
  for (const int number : {10, 11, 12}) add("b", number);
  add("c", 20);
  EXPECT_EQ(line_.shed().prompt_tokens, 12);
  EXPECT_EQ(line_.shed().prompt_tokens, 11);  // of several such, of the one whose turn is last
  EXPECT_EQ(line_.shed().prompt_tokens, 2);
  EXPECT_EQ(line_.shed().prompt_tokens, 20);
  EXPECT_EQ(line_.size(), 2U);
}

}  // namespace
}  // namespace mlxk
