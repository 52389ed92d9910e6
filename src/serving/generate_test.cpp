#include "serving/generate.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "chat/testing/small_tokenizer.h"
#include "worker/model_handle.h"
#include "worker/request.h"
#include "worker/testing/fake_backend.h"
#include "worker/worker.h"

namespace mlxk {
namespace {

/// A worker whose model answers with the tokens 0, 1, 2 …
class GenerateTest : public ::testing::Test {
 protected:
  GeneratedAnswer run(
      int32_t first_prompt_token, int64_t max_tokens, std::vector<std::string> stops = {},
      const std::function<bool()>& stop_wanted = [] { return false; }) {
    GenerateRequest request;
    request.prompt = {first_prompt_token, 1, 2};
    request.max_tokens = max_tokens;
    const auto on_parts = [&](const std::vector<Part>& parts) {
      for (const Part& part : parts) shown_ += part.text;
    };
    return generate(worker_, model_, std::move(request), Completion(tokenizer_, std::move(stops), {}), on_parts,
                    stop_wanted);
  }

  std::shared_ptr<testing::FakeCounters> counters_ = std::make_shared<testing::FakeCounters>();
  Worker worker_{[this] { return std::make_unique<testing::FakeBackend>(counters_); }};
  std::shared_ptr<const ModelHandle> model_ = worker_.load(ModelKind::text, "present");
  std::shared_ptr<const Tokenizer> tokenizer_ =
      testing::small_tokenizer({"zero ", "one ", "two ", "three ", "four "}, {});
  std::string shown_;
};

TEST_F(GenerateTest, ShowsTheTextAsItComes) {
  const GeneratedAnswer answer = run(0, 3);
  EXPECT_EQ(answer.answer, "zero one two ");
  EXPECT_EQ(shown_, answer.answer);
  EXPECT_EQ(answer.reason, FinishReason::length);
  EXPECT_EQ(answer.usage.prompt_tokens, 3);
  EXPECT_EQ(answer.usage.completion_tokens, 3);
}

TEST_F(GenerateTest, AStopStringEndsAnEndlessAnswer) {
  const GeneratedAnswer answer = run(testing::kEndless, 1, {"e two"});
  EXPECT_EQ(answer.answer, "zero on");
  EXPECT_EQ(shown_, answer.answer);
  EXPECT_EQ(answer.reason, FinishReason::stop);
  EXPECT_EQ(answer.usage.completion_tokens, 3);
}

TEST_F(GenerateTest, EndsWhenAskedTo) {
  const GeneratedAnswer answer = run(testing::kEndless, 1, {}, [&] { return shown_.size() > 10; });
  EXPECT_EQ(answer.reason, FinishReason::cancelled);
  EXPECT_EQ(answer.answer.compare(0, 13, "zero one two "), 0) << answer.answer;
}

TEST_F(GenerateTest, ThrowsTheEnginesFailureAndTheNextAnswerStartsClean) {
  for (const int32_t how : {testing::kFailToStart, testing::kFailAlone}) {
    try {
      run(how, 3);
      FAIL() << how;
    } catch (const Error& error) {
      EXPECT_NE(error.kind(), ErrorKind::internal);
    }
  }
  shown_.clear();
  EXPECT_EQ(run(0, 2).answer, "zero one ");
}

}  // namespace
}  // namespace mlxk
