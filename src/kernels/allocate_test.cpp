#include "kernels/allocate.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "kernels/cpu_op.h"
#include "mlx/mlx.h"

namespace mlxk {
namespace {

constexpr int kSide = 1 << 24;  // squared and in float32: a petabyte

TEST(Allocate, ThrowsWhatCannotBeHad) {
  if (!cpu_is_default()) GTEST_SKIP() << "of the CPU's allocator";
  EXPECT_THROW(allocate(size_t{kSide} * kSide), Error);
}

TEST(Allocate, SoDoesAnOperationOfLibmlx) {
  if (!cpu_is_default()) GTEST_SKIP() << "of the CPU's allocator";
  const auto column = mx::ones({kSide, 1}), row = mx::ones({1, kSide});
  EXPECT_THROW(mx::eval(column + row), Error);
  auto after = mx::ones({2}) + mx::ones({2});
  EXPECT_EQ(mx::sum(after).item<float>(), 4);
}

}  // namespace
}  // namespace mlxk
