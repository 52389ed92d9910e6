#include "kernels/append.h"

#include <gtest/gtest.h>

#include "mlx/device.h"
#include "mlx/ops.h"
#include "mlx/random.h"

namespace mlxk {
namespace {

namespace mx = mlx::core;

mx::array random(const mx::Shape& shape, uint64_t seed) {
  mx::array x = mx::random::normal(shape, mx::random::key(seed));
  x.eval();
  return x;
}

TEST(Append, WritesWhatSliceUpdateWrites) {
  mx::array buffer = random({2, 3, 10, 4}, 1);
  mx::array part = mx::transpose(random({2, 5, 3, 4}, 2), {0, 2, 1, 3});  // strided, like heads
  mx::array expected = mx::slice_update(buffer, part, mx::Shape{0, 0, 2, 0}, mx::Shape{2, 3, 7, 4});
  expected.eval();
  EXPECT_TRUE(mx::array_equal(append_in_place(buffer, part, -1, 2), expected).item<bool>());
}

TEST(Append, WritesOneRow) {
  mx::array buffer = random({2, 3, 10, 4}, 3);
  mx::array part = mx::transpose(random({1, 3, 4, 4}, 4), {0, 1, 3, 2});  // not even the last axis is dense
  mx::array expected = mx::slice_update(buffer, part, mx::Shape{1, 0, 6, 0}, mx::Shape{2, 3, 10, 4});
  expected.eval();
  EXPECT_TRUE(mx::array_equal(append_in_place(buffer, part, 1, 6), expected).item<bool>());
}

TEST(Append, SharesTheBufferThoughOthersHoldIt) {
  if (mx::default_device() != mx::Device::cpu) GTEST_SKIP() << "a promise for the CPU";
  mx::array buffer = random({1, 2, 8, 4}, 5);
  mx::array out = append_in_place(buffer, random({1, 2, 1, 4}, 6), -1, 3);
  out.eval();
  EXPECT_EQ(out.data<float>(), buffer.data<float>());
}

TEST(Append, RefusesAPartThatDoesNotFit) {
  mx::array buffer = random({1, 2, 8, 4}, 7);
  EXPECT_THROW(append_in_place(buffer, random({1, 2, 2, 4}, 8), -1, 7), std::invalid_argument);
  EXPECT_THROW(append_in_place(buffer, random({1, 2, 2, 3}, 8), -1, 0), std::invalid_argument);
  EXPECT_THROW(append_in_place(buffer, mx::astype(random({1, 2, 2, 4}, 8), mx::float16), -1, 0), std::invalid_argument);
}

}  // namespace
}  // namespace mlxk
