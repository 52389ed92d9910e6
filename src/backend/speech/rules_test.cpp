#include "backend/speech/rules.h"

#include <gtest/gtest.h>

#include <cmath>

#include "backend/speech/search.h"
#include "base/error.h"
#include "nn/cache/kv_cache.h"

namespace mlxk {
namespace {

// Text tokens 0 to 9, the end 10, "no timestamps" 11, timestamps 12 to 31.
constexpr int32_t kEnd = 10, kNone = 11, kFirst = 12, kVocab = 32;

SpeechRules rules() {
  SpeechRules r;
  r.end = kEnd;
  r.no_timestamps = kNone;
  r.timestamps = kFirst;
  r.max_initial_timestamp = 5;
  r.suppressed = {3};
  r.suppressed_first = {4, kEnd};
  return r;
}

/// Returns the tokens that may follow, from logits that are all equal except that text tokens are likelier unless
/// `flat`.
std::vector<int32_t> allowed(const SpeechRules& r, const std::vector<int32_t>& tokens, bool flat = false) {
  std::vector<float> logits(kVocab, 0.0F);
  if (!flat) std::fill(logits.begin(), logits.begin() + kEnd + 1, 20.0F);
  apply_rules(r, tokens, logits);
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < kVocab; ++id) {
    if (std::isfinite(logits[static_cast<size_t>(id)])) ids.push_back(id);
  }
  return ids;
}

std::vector<int32_t> range(int32_t begin, int32_t end) {
  std::vector<int32_t> ids;
  for (int32_t id = begin; id < end; ++id) ids.push_back(id);
  return ids;
}

TEST(SpeechRules, ATextBeginsWithAnEarlyTimestamp) { EXPECT_EQ(allowed(rules(), {}), range(kFirst, kFirst + 6)); }

TEST(SpeechRules, TimestampsStandInPairs) {
  std::vector<int32_t> text = range(0, kEnd + 1);
  text.erase(text.begin() + 3);
  EXPECT_EQ(allowed(rules(), {14}), text);  // after the first one: text
  EXPECT_EQ(allowed(rules(), {14, 1, 2, 17}, true),
            range(17, kVocab));  // after text and one timestamp: the same one or a later one
  std::vector<int32_t> twin = range(17, kVocab);
  twin.insert(twin.begin(), kEnd);
  std::vector<float> logits(kVocab, 0.0F);
  logits[kEnd] = 20;
  apply_rules(rules(), std::vector<int32_t>{14, 1, 2, 17}, logits);
  EXPECT_TRUE(std::isfinite(logits[kEnd]));            // or the end
  EXPECT_EQ(allowed(rules(), {14, 1, 17, 17}), text);  // a pair is complete
}

TEST(SpeechRules, TimeNeverGoesBackAndSegmentsHaveALength) {
  EXPECT_EQ(allowed(rules(), {14, 1}, true), range(15, kVocab));
  EXPECT_EQ(allowed(rules(), {14, 1, 17, 17, 2}, true), range(18, kVocab));
}

TEST(SpeechRules, WithoutTimestampsOnlySuppressionCounts) {
  SpeechRules r = rules();
  r.with_timestamps = false;
  const auto ids = allowed(r, {});
  EXPECT_EQ(ids.size(), static_cast<size_t>(kVocab) - 3);
  for (const int32_t id : {3, 4, 10}) EXPECT_EQ(std::count(ids.begin(), ids.end(), id), 0);
}

SpeechRow empty_row() {
  std::vector<std::unique_ptr<Cache>> layers;
  layers.push_back(std::make_unique<KVCache>(1));
  return {ModelCache(std::move(layers)), {}, 0, false};
}

/// A language of three tokens and an end (3), whose logits depend on the text so far.
SpeechText search(SpeechSearch wanted, const std::function<std::vector<float>(const std::vector<int32_t>&)>& logits) {
  wanted.rules = {};
  wanted.rules.end = 3;
  wanted.rules.with_timestamps = false;
  SearchState state(wanted, empty_row(), 0.25F, 20);
  while (!state.ended()) {
    std::vector<float> all;
    for (const SpeechRow* row : state.active()) {
      const auto own = logits(row->tokens);
      all.insert(all.end(), own.begin(), own.end());
    }
    state.choose(all, 4);
  }
  return state.result();
}

// The likeliest first token leads to a worse text than the second.
std::vector<float> garden_path(const std::vector<int32_t>& tokens) {
  if (tokens.empty()) return {std::log(0.5F), std::log(0.4F), std::log(0.06F), std::log(0.04F)};
  if (tokens.size() > 1) return {-9, -9, -9, 0};
  if (tokens[0] == 0) return {std::log(0.3F), std::log(0.3F), std::log(0.3F), std::log(0.1F)};
  return {std::log(0.97F), std::log(0.01F), std::log(0.01F), std::log(0.01F)};
}

TEST(SpeechSearch, BeamsFindWhatGreedinessMisses) {
  SpeechSearch greedy, beams;
  beams.beams = 2;
  EXPECT_EQ(search(greedy, garden_path).tokens.front(), 0);
  EXPECT_EQ(search(beams, garden_path).tokens, (std::vector<int32_t>{1, 0}));
}

TEST(SpeechSearch, GreedySumsLogProbabilitiesWithTheEnds) {
  const SpeechText text = search({}, garden_path);
  ASSERT_EQ(text.tokens.size(), 2U);
  const double last = 0 - std::log(3 * std::exp(-9.0) + 1);
  EXPECT_NEAR(text.sum_logprob, std::log(0.5) + std::log(0.3) + last, 1e-5);
  EXPECT_EQ(text.no_speech, 0.25F);
}

TEST(SpeechSearch, EndsWithoutAnEndTokenAtTheLimit) {
  SpeechSearch wanted;
  wanted.max_tokens = 5;
  EXPECT_EQ(search(wanted, [](const auto&) { return std::vector<float>{1, 0, 0, -9}; }).tokens.size(), 5U);
}

TEST(SpeechSearch, OneSeedDrawsOneText) {
  SpeechSearch wanted;
  wanted.temperature = 1;
  wanted.candidates = 3;
  wanted.seed = 7;
  const auto flat = [](const std::vector<int32_t>&) { return std::vector<float>{0, 0, 0, -1}; };
  EXPECT_EQ(search(wanted, flat).tokens, search(wanted, flat).tokens);
}

TEST(SpeechSearch, LogitsThatAreNotFiniteAreAnError) {
  EXPECT_THROW(search({}, [](const auto&) { return std::vector<float>{NAN, 0, 0, 0}; }), Error);
}

}  // namespace
}  // namespace mlxk
