#include "nn/scan.h"

#include <gtest/gtest.h>

#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"
#include "nn/causal_conv.h"

namespace mlxk {
namespace {

mx::array normal(const mx::Shape& shape, uint64_t seed) {
  return mx::multiply(mx::random::normal(shape, mx::float32, mx::random::key(seed)), mx::array(0.3F));
}

SelectiveScan selective(int rows, int length, int heads, int dim, int groups, int states, bool by_state) {
  const mx::Shape decay = by_state ? mx::Shape{states, heads} : mx::Shape{heads};
  return {.x = normal({rows, length, heads * dim}, 1),
          .dt = normal({rows, length, heads}, 2),
          .b = normal({rows, length, groups * states}, 3),
          .c = normal({rows, length, groups * states}, 4),
          .groups = groups,
          .a = mx::negative(mx::exp(normal(decay, 5))),
          .skip = normal({heads}, 6),
          .dt_bias = normal({heads}, 7),
          .dt_min = 0.5F,
          .dt_max = 0.8F,
          .state = normal(by_state ? mx::Shape{rows, states, heads} : mx::Shape{rows, heads, dim, states}, 8),
          .lengths = std::vector<int>(static_cast<size_t>(rows), length)};
}

DeltaRule delta(int rows, int length, int heads, int dim) {
  const auto part = [&](uint64_t seed) { return normal({rows, length, heads, dim}, seed); };
  return {part(1),
          part(2),
          part(3),
          part(4),
          part(5),
          part(6),
          normal({rows, heads, dim, dim}, 7),
          std::vector<int>(static_cast<size_t>(rows), length)};
}

bool close(const mx::array& a, const mx::array& b) { return mx::allclose(a, b, 1e-4, 1e-4).item<bool>(); }

/// The device's own operation must give the results of the chain, for rows of several lengths, and the same state after
/// each row's own tokens.
template <class Step>
void expect_like_the_chain(Step step, int length) {
  step.lengths = {length, 3, 0};
  const Scanned own = scan(step);
  mx::eval(own.y, own.state);
  const LayerOps none;
  const LayerOpsScope scope(none);
  const Scanned chain = scan(step);
  EXPECT_TRUE(close(own.state, chain.state));
  for (int row = 0; row < 3; ++row) {
    mx::Shape begin(own.y.ndim(), 0), end = own.y.shape();
    begin[0] = row;
    end[0] = row + 1;
    end[1] = step.lengths[static_cast<size_t>(row)];
    EXPECT_TRUE(close(mx::slice(own.y, begin, end), mx::slice(chain.y, begin, end))) << row;
  }
  EXPECT_TRUE(close(mx::take(own.state, 2, 0), mx::take(*step.state, 2, 0)));
}

TEST(Scan, OperationsAreTheChains) {
  expect_like_the_chain(selective(3, 70, 4, 5, 2, 9, false), 70);
  expect_like_the_chain(selective(3, 70, 6, 1, 1, 16, true), 70);
  expect_like_the_chain(delta(3, 7, 2, 12), 7);
  expect_like_the_chain(LinearRecurrence{normal({3, 70, 33}, 1), normal({3, 70, 33}, 2), normal({3, 33}, 3), {}}, 70);
}

TEST(Scan, ShapesThatDoNotFitAreRefused) {
  SelectiveScan step = selective(1, 4, 4, 5, 2, 9, false);
  step.groups = 3;
  if (!layer_ops().selective_scan) GTEST_SKIP() << "chains are refused by libmlx";
  EXPECT_THROW(scan(step), std::invalid_argument);
}

TEST(CausalConv, SeesWhatCameBeforeInWhateverPieces) {
  const int channels = 6, kernel = 4;
  const auto weight = normal({channels, 1, kernel}, 1), bias = normal({channels}, 2), x = normal({1, 9, channels}, 3);
  Weights weights({{"conv.weight", weight}, {"conv.bias", bias}}, {});
  const CausalConv1d conv(WeightPath(weights) / "conv", channels, kernel, true);
  RecurrentCache whole_cache(1, 1), pieces_cache(1, 1);
  const mx::array whole = conv(x, whole_cache, 0, Positions({0}, 9));
  const mx::array exact = mx::add(mx::conv1d(mx::pad(x, {{0, 0}, {kernel - 1, 0}, {0, 0}}),
                                             mx::reshape(weight, {channels, kernel, 1}), 1, 0, 1, channels),
                                  bias);
  EXPECT_TRUE(close(whole, exact));
  int at = 0;
  for (const int length : {1, 5, 3}) {
    const mx::array part = mx::slice(x, {0, at, 0}, {1, at + length, channels});
    const mx::array y = conv(part, pieces_cache, 0, Positions({at}, length));
    EXPECT_TRUE(mx::array_equal(y, mx::slice(whole, {0, at, 0}, {1, at + length, channels})).item<bool>());
    at += length;
  }
  EXPECT_TRUE(mx::array_equal(*whole_cache.state(0), *pieces_cache.state(0)).item<bool>());
}

TEST(CausalConv, KeepsTheLastTokensOfEachRowThatCount) {
  const mx::array x = mx::reshape(mx::arange(0, 21), {3, 7, 1});  // two older ones, then five
  const mx::array kept = last_inputs(x, 2, Positions({0, 0, 0}, 5, {5, 0, 2}));
  const std::vector<int> expected{5, 6, 7, 8, 16, 17};
  EXPECT_TRUE(mx::array_equal(mx::flatten(kept), mx::array(expected.begin(), {6})).item<bool>());
}

}  // namespace
}  // namespace mlxk
