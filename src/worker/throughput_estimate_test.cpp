#include "worker/throughput_estimate.h"

#include <gtest/gtest.h>

namespace mlxk {
namespace {

using Clock = ThroughputEstimate::Clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

Clock::time_point at(int64_t ms) { return Clock::time_point(seconds(1000) + milliseconds(ms)); }

TEST(ThroughputEstimate, IsUnknownAtFirst) {
  const ThroughputEstimate throughput;
  EXPECT_EQ(throughput.prefill_tokens_per_s(), 0);
  EXPECT_EQ(throughput.decode_tokens_per_s(), 0);
  EXPECT_EQ(throughput.request_s(), 0);
}

TEST(ThroughputEstimate, LearnsFromAWholeRequest) {
  Progress progress(at(0));
  progress.take(PrefillEvent{512, 1000}, at(1000));
  progress.take(PrefillEvent{1000, 1000}, at(2000));
  for (int i = 0; i < 11; ++i) progress.take(TokenEvent{7}, at(2100 + 50 * i));
  EXPECT_EQ(progress.text(), "after 11 tokens of the answer");
  ThroughputEstimate throughput;
  const Usage usage{.prompt_tokens = 1000, .cached_tokens = 200, .completion_tokens = 11};
  throughput.learn(progress, &usage, at(3000));
  EXPECT_DOUBLE_EQ(throughput.prefill_tokens_per_s(), 400);  // 800 that were not cached, in two seconds
  EXPECT_DOUBLE_EQ(throughput.decode_tokens_per_s(), 20);
  EXPECT_DOUBLE_EQ(throughput.request_s(), 3);
}

TEST(ThroughputEstimate, LearnsFromAPromptThatWasNotFinished) {
  Progress progress(at(0));
  progress.take(PrefillEvent{512, 4000}, at(100));  // perhaps from a cache
  progress.take(PrefillEvent{1024, 4000}, at(2148));
  EXPECT_EQ(progress.text(), "after 1024 tokens of the prompt");
  ThroughputEstimate throughput;
  throughput.learn(progress, nullptr, at(2200));
  EXPECT_DOUBLE_EQ(throughput.prefill_tokens_per_s(), 250);
}

TEST(ThroughputEstimate, AShortPromptSaysNothingOfALongOne) {
  Progress progress(at(0));
  progress.take(PrefillEvent{5, 5}, at(1000));
  progress.take(TokenEvent{7}, at(1010));
  ThroughputEstimate throughput;
  const Usage usage{.prompt_tokens = 5};
  throughput.learn(progress, &usage, at(1010));
  EXPECT_EQ(throughput.prefill_tokens_per_s(), 0);
  EXPECT_EQ(throughput.decode_tokens_per_s(), 0);  // of one token there is no time
}

TEST(ThroughputEstimate, TheLatestRequestsCountMost) {
  ThroughputEstimate throughput;
  const auto learn = [&](int64_t ms_a_token) {
    Progress progress(at(0));
    for (int i = 0; i < 101; ++i) progress.take(TokenEvent{7}, at(i * ms_a_token));
    throughput.learn(progress, nullptr, at(101 * ms_a_token));
  };
  for (int i = 0; i < 5; ++i) learn(10);
  EXPECT_NEAR(throughput.decode_tokens_per_s(), 100, 1e-9);
  for (int i = 0; i < 40; ++i) learn(100);
  EXPECT_NEAR(throughput.decode_tokens_per_s(), 10, 0.5);
}

TEST(RateMeter, CountsTheLastTenSeconds) {
  RateMeter meter;
  EXPECT_EQ(meter.per_second(at(0)), 0);
  for (int second = 0; second < 30; ++second) meter.add(50, at(1000 * second));
  EXPECT_DOUBLE_EQ(meter.per_second(at(29'500)), 50);
  EXPECT_DOUBLE_EQ(meter.per_second(at(34'500)), 25);
  EXPECT_DOUBLE_EQ(meter.per_second(at(60'000)), 0);
}

}  // namespace
}  // namespace mlxk
