#include "models/published_packing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "mlx/ops.h"

namespace mlxk {
namespace {

using ::testing::HasSubstr;

/// Numbers of E4M3: 0, ±0.25, ±0.5 … ±1.75.
mx::array numbers(const mx::Shape& shape) {
  const int count = static_cast<int>(mx::zeros(shape).size());
  const mx::array steps = mx::subtract(mx::remainder(mx::arange(count), mx::array(15)), mx::array(7));
  return mx::reshape(mx::multiply(mx::astype(steps, mx::float32), mx::array(0.25F)), shape);
}

bool same(const mx::array& a, const mx::array& b) {
  return a.dtype() == b.dtype() && mx::array_equal(a, b).item<bool>();
}

mx::array unpack(const mx::array& weight, const mx::array& scale) {
  Weights::Tensors tensors{{"a.weight", mx::to_fp8(weight)},
                           {"a.weight_scale_inv", scale},
                           {"a.activation_scale", mx::array(1.0F)},
                           {"norm.weight", mx::ones({4})}};
  unpack_float8(tensors);
  EXPECT_EQ(tensors.size(), 2u);
  return tensors.at("a.weight");
}

TEST(PublishedPacking, EachBlockHasItsScale) {
  const mx::array weight = numbers({130, 260});
  const mx::array scale({0.5F, 2.0F, 4.0F, 8.0F, 16.0F, 32.0F}, {2, 3});
  const mx::array found = unpack(weight, scale);
  EXPECT_EQ(found.shape(), weight.shape());
  for (const auto& [row, column, factor] :
       {std::tuple(0, 0, 0.5F), {0, 128, 2}, {127, 259, 4}, {128, 127, 8}, {129, 255, 16}, {129, 256, 32}}) {
    const auto at = [&](const mx::array& x) {
      const int r = row, c = column;
      return mx::astype(mx::slice(x, {r, c}, {r + 1, c + 1}), mx::float32).item<float>();
    };
    EXPECT_EQ(at(found), at(weight) * factor) << row << ", " << column;
  }
}

TEST(PublishedPacking, OneScaleServesAllOrAMatrixOfAStack) {
  const mx::array weight = numbers({3, 5});
  EXPECT_TRUE(same(unpack(weight, mx::array(0.5F)), mx::astype(mx::multiply(weight, mx::array(0.5F)), mx::bfloat16)));
  const mx::array stack = numbers({2, 3, 5}), scales({0.5F, 4.0F}, {2, 1, 1});
  EXPECT_TRUE(same(unpack(stack, scales), mx::astype(mx::multiply(stack, scales), mx::bfloat16)));
}

TEST(PublishedPacking, NamesScalesThatDoNotFit) {
  try {
    unpack(numbers({130, 260}), mx::ones({2, 2}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("a.weight_scale_inv must be one number or of shape [2, 3]"));
    EXPECT_THAT(error.what(), HasSubstr("got shape [2, 2]"));
  }
}

}  // namespace
}  // namespace mlxk
