#include "kernels/cpu/convolution.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "kernels/cpu_op.h"
#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"

namespace mlxk {
namespace {

float relative_error(const mx::array& y, const mx::array& exact) {
  return mx::divide(mx::max(mx::abs(mx::subtract(y, exact))), mx::max(mx::abs(exact))).item<float>();
}

class CpuConvTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!cpu_is_default()) GTEST_SKIP() << "libmlx's default device is not the CPU";
    mx::random::seed(7);
  }
};

struct Case {
  mx::Shape x, weight;
  ConvOptions options;
};

void expect_as_libmlx(const Case& c, mx::Dtype type, bool with_bias) {
  const auto x = mx::random::normal(c.x);
  const auto weight = mx::astype(mx::random::normal(c.weight), type);
  std::optional<mx::array> bias;
  if (with_bias) bias = mx::random::normal({c.weight[0]});
  auto exact = mx::conv2d(x, mx::astype(weight, mx::float32), c.options.stride, c.options.padding, c.options.dilation,
                          c.options.groups);
  if (bias) exact = mx::add(exact, *bias);
  const auto y = cpu_convolved(x, cpu_conv(weight, bias, c.options));
  ASSERT_EQ(y.shape(), exact.shape());
  EXPECT_LE(relative_error(y, exact), 1e-4)
      << c.x[1] << "×" << c.x[2] << "×" << c.x[3] << ", kernel " << c.weight[1] << "×" << c.weight[2];
}

TEST_F(CpuConvTest, EqualsLibmlxOnOddShapes) {
  const std::vector<Case> cases{
      {{1, 1, 31, 80}, {48, 1, 3, 80}, {{1, 1}, {0, 1}, {1, 1}, 1}},     // Whisper's first
      {{2, 1, 31, 48}, {48, 1, 3, 48}, {{1, 2}, {0, 1}, {1, 1}, 1}},     // and second
      {{2, 28, 42, 3}, {20, 14, 14, 3}, {{14, 14}, {0, 0}, {1, 1}, 1}},  // patches of an image
      {{1, 29, 45, 3}, {20, 14, 14, 3}, {{14, 14}, {0, 0}, {1, 1}, 1}},  // with a remainder
      {{1, 1, 40, 6}, {5, 1, 4, 6}, {{1, 4}, {0, 0}, {1, 1}, 1}},        // the input is the patches
      {{3, 5, 7, 33}, {17, 1, 1, 33}, {}},
      {{1, 9, 11, 5}, {7, 3, 2, 5}, {{2, 3}, {1, 2}, {2, 3}, 1}},
      {{1, 9, 11, 6}, {9, 3, 3, 2}, {{1, 2}, {2, 0}, {1, 1}, 3}},    // groups
      {{2, 6, 8, 10}, {10, 3, 3, 1}, {{1, 1}, {1, 1}, {1, 2}, 10}},  // depthwise
      {{2, 6, 8, 5}, {10, 3, 3, 1}, {{1, 1}, {1, 1}, {1, 1}, 5}},    // two for each channel
      {{1, 1, 1, 1}, {1, 1, 1, 1}, {}},
      {{1, 70, 70, 40}, {8, 3, 3, 40}, {{1, 1}, {1, 1}, {1, 1}, 1}},  // more patches than are made at a time
  };
  for (const Case& c : cases) {
    for (const mx::Dtype type : {mx::float32, mx::bfloat16, mx::float16}) {
      expect_as_libmlx(c, type, false);
      expect_as_libmlx(c, type, true);
    }
  }
}

TEST_F(CpuConvTest, NoImagesGiveNothing) {
  const auto conv = cpu_conv(mx::zeros({4, 3, 3, 2}), std::nullopt, {});
  const auto y = cpu_convolved(mx::zeros({0, 5, 6, 2}), conv);
  EXPECT_EQ(y.shape(), (mx::Shape{0, 3, 4, 4}));
  mx::eval(y);
}

TEST_F(CpuConvTest, TakesInputsThatDoNotLieInOrder) {
  const auto x = mx::random::normal({1, 3, 9, 8});  // channels first
  const auto weight = mx::random::normal({4, 3, 3, 3});
  const auto last = mx::transpose(x, {0, 2, 3, 1});
  EXPECT_LE(relative_error(cpu_convolved(last, cpu_conv(weight, std::nullopt, {})), mx::conv2d(last, weight)), 1e-4);
}

TEST_F(CpuConvTest, APositionHasTheSameBitsWhateverIsComputedWithIt) {
  const auto weight = mx::random::normal({24, 1, 3, 64});
  const auto conv = cpu_conv(weight, std::nullopt, {});
  const auto x = mx::random::normal({1, 1, 9000, 64});
  const auto whole = cpu_convolved(x, conv);
  for (const int begin : {0, 17, 8000}) {
    const auto part = cpu_convolved(mx::slice(x, {0, 0, begin, 0}, {1, 1, begin + 35, 64}), conv);
    EXPECT_TRUE(mx::array_equal(part, mx::slice(whole, {0, 0, begin, 0}, {1, 1, begin + 33, 24})).item<bool>())
        << begin;
  }
}

TEST_F(CpuConvTest, WhatDoesNotFitIsRefused) {
  const auto weight = mx::zeros({6, 3, 3, 2});
  EXPECT_THROW(cpu_conv(weight, std::nullopt, {{0, 1}, {0, 0}, {1, 1}, 1}), std::invalid_argument);
  EXPECT_THROW(cpu_conv(weight, std::nullopt, {{1, 1}, {0, 0}, {1, 1}, 4}), std::invalid_argument);
  EXPECT_THROW(cpu_conv(weight, mx::zeros({5}), {}), std::invalid_argument);
  const auto conv = cpu_conv(weight, std::nullopt, {});
  EXPECT_THROW(cpu_convolved(mx::zeros({1, 2, 8, 2}), conv), std::invalid_argument);
  EXPECT_THROW(cpu_convolved(mx::zeros({1, 8, 8, 3}), conv), std::invalid_argument);
}

}  // namespace
}  // namespace mlxk
