#include "nn/conv.h"

#include <gtest/gtest.h>

#include "mlx/ops.h"
#include "mlx/random.h"

namespace mlxk {
namespace {

TEST(Conv, OneDimensionIsAHeightOfOne) {
  const auto weight = mx::random::normal({6, 3, 4}), bias = mx::random::normal({6}), x = mx::random::normal({2, 9, 8});
  Weights weights({{"conv.weight", weight}, {"conv.bias", bias}}, {});
  const Conv1d conv(WeightPath(weights) / "conv", 8, 6, 3, {2, 1, 1, 2}, true);
  const auto exact = mx::add(mx::conv1d(x, weight, 2, 1, 1, 2), bias), y = conv(x);
  ASSERT_EQ(y.shape(), exact.shape());
  EXPECT_TRUE(mx::allclose(y, exact, 1e-4, 1e-4).item<bool>());
}

TEST(Conv, AWeightOfAnotherShapeIsRefused) {
  Weights weights({{"conv.weight", mx::zeros({6, 3, 4})}}, {});
  const Conv1d conv(WeightPath(weights) / "conv", 8, 6, 3, {}, false);
  EXPECT_THROW(weights.check(), Error);
}

TEST(Conv, TwoDimensionsOfPatches) {
  const auto weight = mx::random::normal({7, 4, 4, 3}), x = mx::random::normal({1, 12, 9, 3});
  Weights weights({{"patch.weight", weight}}, {});
  const Conv2d conv(WeightPath(weights) / "patch", 3, 7, {4, 4}, {{4, 4}, {0, 0}, {1, 1}, 1}, false);
  const auto exact = mx::conv2d(x, weight, {4, 4}), y = conv(x);
  ASSERT_EQ(y.shape(), exact.shape());
  EXPECT_TRUE(mx::allclose(y, exact, 1e-4, 1e-4).item<bool>());
}

}  // namespace
}  // namespace mlxk
