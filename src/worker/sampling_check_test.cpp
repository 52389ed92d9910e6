#include "worker/sampling_check.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "worker/sampling.h"

namespace mlxk {
namespace {

const float kNan = std::numeric_limits<float>::quiet_NaN();
const float kInfinity = std::numeric_limits<float>::infinity();

template <class Change>
std::string refusal(Change change, int64_t vocab_size = 100) {
  Sampling sampling;
  change(sampling);
  try {
    check_sampling(sampling, vocab_size);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::invalid);
    return e.what();
  }
  return {};
}

TEST(CheckSampling, AcceptsDefaultsAndLimits) {
  EXPECT_EQ(refusal([](Sampling&) {}), "");
  EXPECT_EQ(refusal([](Sampling& s) {
              s.temperature = 0;
              s.top_p = 1;
              s.min_p = 1;
              s.xtc_probability = 1;
              s.xtc_threshold = 0.5F;
              s.repetition_penalty = 0;
              s.presence_penalty = -2;
              s.logit_bias = {{0, -100.0F}, {99, 100.0F}};
            }),
            "");
}

TEST(CheckSampling, NamesTheFieldAndTheValue) {
  EXPECT_EQ(refusal([](Sampling& s) { s.temperature = -0.5F; }),
            "[sampling] temperature must be a number of at least 0, got -0.5");
  EXPECT_EQ(refusal([](Sampling& s) { s.top_p = 0; }), "[sampling] top_p must be above 0 and at most 1, got 0");
  EXPECT_EQ(refusal([](Sampling& s) { s.min_p = 1.5F; }), "[sampling] min_p must be from 0 to 1, got 1.5");
  EXPECT_EQ(refusal([](Sampling& s) { s.top_k = -1; }), "[sampling] top_k must be at least 0, got -1");
  EXPECT_EQ(refusal([](Sampling& s) { s.min_tokens_to_keep = 0; }),
            "[sampling] min_tokens_to_keep must be at least 1, got 0");
  EXPECT_EQ(refusal([](Sampling& s) { s.xtc_threshold = 0.6F; }),
            "[sampling] xtc_threshold must be from 0 to 0.5, got 0.6");
  EXPECT_EQ(refusal([](Sampling& s) { s.frequency_context_size = -3; }),
            "[sampling] frequency_context_size must be at least 0, got -3");
  EXPECT_EQ(refusal([](Sampling& s) { s.dry_multiplier = -1; }),
            "[sampling] dry_multiplier must be a number of at least 0, got -1");
  EXPECT_EQ(refusal([](Sampling& s) { s.dry_base = 0.5F; }),
            "[sampling] dry_base must be a number of at least 1, got 0.5");
  EXPECT_EQ(refusal([](Sampling& s) { s.dry_allowed_length = 0; }),
            "[sampling] dry_allowed_length must be at least 1, got 0");
  EXPECT_EQ(refusal([](Sampling& s) { s.dry_penalty_last_n = -2; }),
            "[sampling] dry_penalty_last_n must be at least -1, got -2");
  EXPECT_EQ(refusal([](Sampling& s) { s.dry_breakers = {{1}, {}}; }),
            "[sampling] dry_breakers must be of at least 1 token each, got 0");
  EXPECT_EQ(refusal([](Sampling& s) { s.dry_breakers = {{2}, {1, 3}}; }), "[sampling] dry_breakers must be ascending");
  EXPECT_EQ(refusal([](Sampling& s) { s.logit_bias = {{100, 1.0F}}; }),
            "[sampling] logit_bias names token 100, the vocabulary has 100");
  EXPECT_EQ(refusal([](Sampling& s) { s.xtc_special_tokens = {-1}; }),
            "[sampling] xtc_special_tokens names token -1, the vocabulary has 100");
}

TEST(CheckSampling, RefusesWhatIsNoFiniteNumber) {
  for (const float bad : {kNan, kInfinity, -kInfinity}) {
    EXPECT_NE(refusal([&](Sampling& s) { s.temperature = bad; }), "");
    EXPECT_NE(refusal([&](Sampling& s) { s.top_p = bad; }), "");
    EXPECT_NE(refusal([&](Sampling& s) { s.min_p = bad; }), "");
    EXPECT_NE(refusal([&](Sampling& s) { s.xtc_probability = bad; }), "");
    EXPECT_NE(refusal([&](Sampling& s) { s.repetition_penalty = bad; }), "");
    EXPECT_NE(refusal([&](Sampling& s) { s.presence_penalty = bad; }), "");
    EXPECT_NE(refusal([&](Sampling& s) { s.frequency_penalty = bad; }), "");
    EXPECT_NE(refusal([&](Sampling& s) { s.logit_bias = {{1, bad}}; }), "");
  }
}

TEST(CheckSampling, WithoutAVocabularyOnlyNegativeIdsAreRefused) {
  EXPECT_EQ(refusal([](Sampling& s) { s.logit_bias = {{1000000, 1.0F}}; }, 0), "");
  EXPECT_EQ(refusal([](Sampling& s) { s.logit_bias = {{-7, 1.0F}}; }, 0), "[sampling] logit_bias names token -7");
}

}  // namespace
}  // namespace mlxk
