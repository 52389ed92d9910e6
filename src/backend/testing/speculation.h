#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "backend/testing/runs.h"

namespace mlxk {

/// Requests with every kind of sampling and repetitive prompts.
inline std::vector<GenerateRequest> repeating_requests(int64_t vocab) {
  std::vector<GenerateRequest> all;
  for (int i = 0; i < 6; ++i) {
    GenerateRequest one = ask(3 + 7 * i, vocab, 30 + i, i);
    const auto once = one.prompt;
    one.prompt.insert(one.prompt.end(), once.begin(), once.end());
    if (i % 2 == 1) {
      one.sampling.temperature = i == 1 ? 0.3F : 0.8F;
      one.sampling.seed = static_cast<uint64_t>(i);
    }
    if (i == 3) one.sampling.repetition_penalty = 1.1F;
    if (i == 4) one.sampling.frequency_penalty = 0.05F;
    all.push_back(std::move(one));
  }
  return all;
}

inline void expect_equal_runs(TextModel& with, TextModel& without, const std::vector<Arrival>& arrivals) {
  const auto got = run(with, arrivals), want = run(without, arrivals);
  for (size_t i = 0; i < arrivals.size(); ++i) {
    const auto tokens = tokens_of(want[i]);
    ASSERT_FALSE(tokens.empty());
    EXPECT_EQ(tokens_of(got[i]).size(), tokens.size()) << "request " << i;
    expect_same(tokens_of(got[i]), tokens, i);
    ASSERT_EQ(got[i].back().index(), want[i].back().index());
    if (const auto* done = std::get_if<DoneEvent>(&want[i].back())) {
      EXPECT_EQ(std::get<DoneEvent>(got[i].back()).reason, done->reason);
      EXPECT_EQ(std::get<DoneEvent>(got[i].back()).usage.completion_tokens, done->usage.completion_tokens);
    }
  }
}

/// Allows three tokens of four, depending on how many it has taken.
class Turning : public TokenConstraint {
 public:
  void allowed(std::span<uint32_t> mask) override {
    for (auto& word : mask) word = ~(0x11111111U << (taken_ % 4));
  }
  bool accept(int32_t) override { return ++taken_ > 0; }

 private:
  int taken_ = 0;
};

}  // namespace mlxk
