#include "sample/selection.h"

#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>

#include "base/testing/test_paths.h"
#include "sample/filters.h"
#include "sample/golden_cases.h"

namespace mlxk {
namespace {

namespace mx = mlx::core;

const float kNan = std::numeric_limits<float>::quiet_NaN();
const float kInfinity = std::numeric_limits<float>::infinity();

// The row's log-probabilities, -inf for those that `selection` does not keep.
std::vector<float> kept_logprobs(Selection& selection, const std::vector<float>& row) {
  std::vector<float> logprobs(row.size(), -kInfinity);
  for (const int32_t id : selection.kept_ids()) {
    logprobs[static_cast<size_t>(id)] = row[static_cast<size_t>(id)] - selection.total();
  }
  return logprobs;
}

TEST(Selection, FiltersAsMlxLm) {
  const Json file = read_json(std::string(test_tree::kTestData) + "/sample/filters.json");
  Selection selection;
  for (const Json& one : file.at("cases")) {
    SCOPED_TRACE(one.at("logits").dump() + " " + one.at("sampling").dump());
    const auto row = golden::floats(file.at("logits").at(one.at("logits").get<std::string>()));
    const auto want = golden::floats(one.at("logprobs"));
    const Sampling sampling = golden::sampling(one.at("sampling"));
    selection.read(row);
    ASSERT_TRUE(std::isfinite(selection.total()));
    selection.filter(sampling, sampling.xtc_probability == 1);
    const auto got = kept_logprobs(selection, row);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); ++i) {
      if (std::isinf(want[i])) {
        EXPECT_EQ(got[i], want[i]) << "token " << i;
      } else {
        EXPECT_NEAR(got[i], want[i], 2e-5) << "token " << i;
      }
    }
  }
}

// The probabilities that the operations of filters.h produce.
std::vector<double> left_by_operations(const std::vector<float>& row, const Sampling& s, bool xtc) {
  const mx::array logits(row.begin(), {1, static_cast<int>(row.size())}, mx::float32);
  mx::array x = mx::subtract(logits, mx::logsumexp(logits, true));
  if (s.top_p < 1) x = keep_top_p(x, s.top_p);
  if (s.min_p > 0) x = keep_min_p(x, s.min_p, s.min_tokens_to_keep);
  if (xtc) x = exclude_top_choices(x, s.xtc_threshold, s.xtc_special_tokens);
  if (s.top_k > 0) x = keep_top_k(x, s.top_k);
  x = mx::contiguous(mx::exp(x));
  mx::eval(x);
  return {x.data<float>(), x.data<float>() + x.size()};
}

std::vector<float> random_row(std::mt19937& random, const std::string& kind, size_t vocab) {
  std::normal_distribution<float> normal(0, kind == "flat" ? 0.1F : 3.0F);
  std::vector<float> row(vocab);
  for (float& x : row) {
    x = normal(random);
    if (kind == "ties") x = std::round(x);
    if (kind == "masked" && random() % 3 == 0) x = -kInfinity;
    if (kind == "huge") x *= 2e37F * static_cast<float>(random() % 2);
    if (kind == "floor" && random() % 3 != 0) x = std::numeric_limits<float>::lowest();
    if (kind == "spread") x *= 1e4F;
    if (kind == "equal") x = 2;
    if (kind == "one") x = 0;
    if (kind == "only") x = -kInfinity;
  }
  if (kind == "one" || kind == "only") row[random() % vocab] = 60;
  return row;
}

Sampling random_filters(std::mt19937& random, size_t vocab) {
  const auto one_of = [&](std::initializer_list<float> values) { return values.begin()[random() % values.size()]; };
  const auto below = [&](size_t end) { return static_cast<int>(random() % end); };
  Sampling s;
  s.top_p = one_of({1, 1, 0.9F, 0.31F, 0.013F, 0.9999999F});
  s.min_p = one_of({0, 0, 0.0137F, 0.51F, 1});
  s.min_tokens_to_keep = 1 + (random() % 2 == 0 ? below(vocab + 2) : 0);
  s.top_k = random() % 2 == 0 ? 1 + below(vocab + 2) : 0;
  s.xtc_threshold = one_of({0, 0.011F, 0.097F});
  if (random() % 2 == 0) s.xtc_special_tokens = {below(vocab), below(vocab)};
  return s;
}

TEST(Selection, LeavesTheDistributionThatTheOperationsLeave) {
  std::mt19937 random(5);
  Selection selection;
  for (const std::string kind :
       {"normal", "flat", "ties", "masked", "huge", "floor", "spread", "equal", "one", "only"}) {
    for (const size_t vocab : {1, 2, 7, 256, 257, 1000, 5003}) {
      for (int round = 0; round < 12; ++round) {
        const auto row = random_row(random, kind, vocab);
        const Sampling s = random_filters(random, vocab);
        const bool xtc = random() % 3 == 0;
        selection.read(row);
        if (!std::isfinite(selection.total())) {
          EXPECT_EQ(kind, "masked");  // all of it
          continue;
        }
        selection.filter(s, xtc);
        const auto got = kept_logprobs(selection, row);
        const auto want = left_by_operations(row, s, xtc);
        for (size_t i = 0; i < vocab; ++i) {
          ASSERT_NEAR(std::exp(static_cast<double>(got[i])), want[i], 2e-5)
              << "token " << i << " of " << vocab << ", " << kind << ", top_p " << s.top_p << ", min_p " << s.min_p
              << " and " << s.min_tokens_to_keep << ", XTC " << xtc << ' ' << s.xtc_threshold << ", top_k " << s.top_k;
        }
      }
    }
  }
}

TEST(Selection, LikeliestAreTheLastOfTies) {
  Selection selection;
  std::vector<float> row{1, 3, -kInfinity, 3, 2, 3, -kInfinity};
  selection.read(row);
  EXPECT_EQ(selection.likeliest(2), (std::vector<int32_t>{3, 5}));
  EXPECT_EQ(selection.likeliest(4), (std::vector<int32_t>{1, 3, 4, 5}));
  EXPECT_EQ(selection.likeliest(6), (std::vector<int32_t>{0, 1, 3, 4, 5, 6}));
  EXPECT_EQ(selection.likeliest(9).size(), 7);
}

TEST(Selection, FirstLargestInAnyBlock) {
  Selection selection;
  std::vector<float> row(1000, -5);
  for (const size_t place : {999, 700, 256, 255, 0}) {
    row[place] = 1;
    selection.read(row);
    EXPECT_EQ(selection.first_largest(), static_cast<int32_t>(place));
    EXPECT_EQ(selection.largest(), 1);
  }
  row[300] = kNan;
  selection.read(row);
  EXPECT_TRUE(std::isnan(selection.largest()));
  EXPECT_EQ(selection.first_largest(), 0);
}

TEST(Selection, TheDrawIsTheTokenAtItsPlaceInTheSum) {
  Selection selection;
  std::vector<float> row(600, -kInfinity);
  row[3] = row[299] = row[300] = row[555] = 7;
  selection.read(row);
  ASSERT_TRUE(std::isfinite(selection.total()));
  const auto draw = [&](double uniform) { return selection.draw(0.5F, uniform); };
  EXPECT_EQ(draw(0), 3);
  EXPECT_EQ(draw(0.2499), 3);
  EXPECT_EQ(draw(0.2501), 299);
  EXPECT_EQ(draw(0.5001), 300);
  EXPECT_EQ(draw(0.7501), 555);
  EXPECT_EQ(draw(std::nextafter(1.0, 0.0)), 555);
  Sampling two;
  two.top_p = 1;
  two.top_k = 2;
  selection.filter(two, false);
  EXPECT_EQ(draw(0.4999), 3);
  EXPECT_EQ(draw(0.5001), 299);
  for (const float temperature : {1e-45F, 1e38F}) EXPECT_EQ(selection.draw(temperature, 0.9), 299);
}

}  // namespace
}  // namespace mlxk
