#include "kernels/cpu/latent_heads.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

#include "kernels/cpu/mixture.h"
#include "mlx/fast.h"
#include "mlx/ops.h"
#include "mlx/random.h"

namespace mlxk {
namespace {

constexpr int kHeads = 3, kNope = 32, kRope = 8, kLatent = 64, kWidth = kLatent + kRope;

mx::array part(const mx::array& x, int begin, int end) { return mx::split(x, mx::Shape{begin, end}, -1)[1]; }

float difference(const mx::array& a, const mx::array& b) { return mx::max(mx::abs(mx::subtract(a, b))).item<float>(); }

class LatentHeadsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!cpu_is_default()) GTEST_SKIP() << "libmlx's default device is not the CPU";
    mx::random::seed(3);
  }
};

TEST_F(LatentHeadsTest, EqualTheirOperations) {
  const mx::array matrices = mx::random::normal({kHeads, kLatent, kNope});
  const Packed stack = cpu_stack({matrices, {}, {}, {}, kLatent, kNope});
  Rotation rotation;
  rotation.traditional = true;
  for (int i = 0; i < kRope / 2; ++i)
    rotation.steps.push_back(1 / std::pow(100.0F, 2.0F * static_cast<float>(i) / kRope));
  const mx::array norm = mx::random::normal({kLatent});
  for (const int length : {1, 5}) {
    const mx::array q = mx::random::normal({2, length, kHeads * (kNope + kRope)});
    const mx::array kv = mx::random::normal({2, length, kWidth}), offsets = mx::array({7, 0});
    const auto turned = [&](const mx::array& x) {  // [2, L, heads, kRope]
      const mx::array heads = mx::swapaxes(x, 1, 2);
      return mx::swapaxes(mx::fast::rope(heads, kRope, true, 100.0F, 1.0F, offsets), 1, 2);
    };
    const mx::array heads = mx::unflatten(q, -1, {kHeads, kNope + kRope});
    const mx::array mapped = mx::squeeze(mx::matmul(matrices, mx::expand_dims(part(heads, 0, kNope), -1)), -1);
    const mx::array queries =
        mx::flatten(mx::concatenate({mapped, turned(part(heads, kNope, kNope + kRope))}, 3), 2, 3);
    const mx::array keys = mx::concatenate({mx::fast::rms_norm(part(kv, 0, kLatent), norm, 1e-5F),
                                            mx::squeeze(turned(mx::expand_dims(part(kv, kLatent, kWidth), 2)), 2)},
                                           2);

    const auto [own_queries, own_keys] = cpu_latent_heads({q, kv, {norm, 1e-5F}, stack, kRope, rotation, {7, 0}});
    EXPECT_EQ(own_queries.shape(), queries.shape());
    EXPECT_EQ(own_keys.shape(), keys.shape());
    EXPECT_LT(difference(own_queries, queries), 1e-4F) << length;
    EXPECT_LT(difference(own_keys, keys), 1e-4F) << length;
  }
}

TEST_F(LatentHeadsTest, EachHeadHasItsMatrix) {
  const mx::array matrices = mx::random::normal({kHeads, kNope, kLatent});
  const Packed stack = cpu_stack({matrices, {}, {}, {}, kNope, kLatent});
  const mx::array x = mx::random::normal({2, 3, kHeads * kLatent});
  const mx::array heads = mx::expand_dims(mx::unflatten(x, -1, {kHeads, kLatent}), -1);
  const mx::array y = mx::flatten(mx::squeeze(mx::matmul(matrices, heads), -1), 2, 3);
  EXPECT_LT(difference(cpu_head_matmul(x, stack), y), 1e-4F);
}

TEST_F(LatentHeadsTest, RefuseShapesThatDoNotFit) {
  const Packed stack = cpu_stack({mx::zeros({kHeads, kLatent, kNope}), {}, {}, {}, kLatent, kNope});
  const mx::array q = mx::zeros({1, 1, kHeads * (kNope + kRope)}), kv = mx::zeros({1, 1, kWidth});
  const NormWeights norm{mx::zeros({kLatent}), 1e-5F};
  EXPECT_NO_THROW(cpu_latent_heads({q, kv, norm, stack, kRope, {}, {0}}));
  EXPECT_THROW(cpu_latent_heads({q, kv, norm, stack, kRope + 1, {}, {0}}), std::invalid_argument);
  EXPECT_THROW(cpu_latent_heads({part(q, 0, kNope), kv, norm, stack, kRope, {}, {0}}), std::invalid_argument);
  EXPECT_THROW(cpu_head_matmul(kv, stack), std::invalid_argument);
}

}  // namespace
}  // namespace mlxk
