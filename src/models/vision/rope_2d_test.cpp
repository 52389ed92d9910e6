#include "models/vision/rope_2d.h"

#include <gtest/gtest.h>

#include "kernels/device.h"
#include "mlx/ops.h"
#include "mlx/random.h"

namespace mlxk {
namespace {

TEST(PatchRotation, IsTheSameAsOneOperationAndAsAChain) {
  constexpr int kPatches = 13, kHeads = 3, kDim = 40;
  const mx::array x = mx::random::normal({1, kPatches, kHeads * kDim}, mx::float32, mx::random::key(1));
  std::vector<float> angles;
  for (int i = 0; i < kPatches * kDim / 2; ++i) angles.push_back(0.37F * static_cast<float>(i % 29));
  for (const Pairing pairing : {Pairing::halves, Pairing::neighbours, Pairing::quarters}) {
    const PatchRotation rotation(angles, kPatches, pairing);
    const mx::array one = rotation(x, kDim);
    static const LayerOps none;
    const LayerOpsScope scope(none);
    const mx::array chain = rotation(x, kDim);
    EXPECT_EQ(one.shape(), x.shape());
    EXPECT_LT(mx::max(mx::abs(mx::subtract(one, chain))).item<float>(), 1e-5F) << static_cast<int>(pairing);
    EXPECT_GT(mx::max(mx::abs(mx::subtract(one, x))).item<float>(), 0.1F) << static_cast<int>(pairing);
  }
}

}  // namespace
}  // namespace mlxk
