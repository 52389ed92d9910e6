#include "nn/mixture.h"

#include <gtest/gtest.h>

#include "mlx/ops.h"
#include "mlx/random.h"

namespace mlxk {
namespace {

constexpr int kExperts = 6, kHidden = 64, kWide = 96, kMxfp4 = -4;

void add(Weights::Tensors& tensors, const std::string& path, mx::array weight, int bits) {
  if (bits == 0) {
    tensors.emplace(path + ".weight", weight);
    return;
  }
  const bool floats = bits == kMxfp4;
  const auto parts = mx::quantize(weight, 32, floats ? 4 : bits, floats ? "mxfp4" : "affine");
  tensors.emplace(path + ".weight", parts[0]);
  tensors.emplace(path + ".scales", parts[1]);
  if (!floats) tensors.emplace(path + ".biases", parts[2]);
}

MixtureResidual mixture(int bits, const RoutingRule& rule, bool biased, float multiplier) {
  mx::random::seed(11);
  Weights::Tensors tensors;
  add(tensors, "gate", mx::random::normal({kExperts, kWide, kHidden}), bits);
  add(tensors, "up", mx::random::normal({kExperts, kWide, kHidden}), bits);
  add(tensors, "down", mx::random::normal({kExperts, kHidden, kWide}), bits == 0 ? 0 : 8);
  add(tensors, "router", mx::random::normal({kExperts, kHidden}), 0);
  tensors.emplace("norm.weight", mx::random::uniform({kHidden}));
  tensors.emplace("bias", mx::random::normal({kExperts}));
  Weights weights(std::move(tensors), {});
  const WeightPath root(weights);
  MixtureResidual block{RmsNorm(root / "norm", kHidden, 1e-5F),
                        {Linear(root / "router", kHidden, kExperts), rule},
                        ExpertLinear(root / "gate", kExperts, kHidden, kWide),
                        ExpertLinear(root / "up", kExperts, kHidden, kWide),
                        ExpertLinear(root / "down", kExperts, kWide, kHidden),
                        Activation::silu,
                        multiplier};
  if (biased) block.router.selection_bias = root.take("bias", {kExperts});
  return block;
}

TEST(MixtureResidual, IsTheSameOnEveryDevice) {
  RoutingRule softmax, sigmoid;
  softmax.top_k = 2;
  softmax.normalise = true;
  sigmoid.top_k = 3;
  sigmoid.score = RoutingRule::Score::sigmoid;
  sigmoid.scale = 2.5F;
  for (const int bits : {0, 4, kMxfp4}) {
    for (const bool biased : {false, true}) {
      const MixtureResidual block = mixture(bits, biased ? sigmoid : softmax, biased, 0.5F);
      const auto x = mx::random::normal({2, 5, kHidden});
      const auto exact = block.by_operations(x);
      const auto error = mx::max(mx::abs(mx::subtract(block(x), exact))).item<float>();
      EXPECT_LE(error, 1e-4F * mx::max(mx::abs(exact)).item<float>()) << bits << " bits";
    }
  }
}

TEST(ExpertLinear, NamesAStackOfAnotherSize) {
  Weights::Tensors tensors;
  add(tensors, "plain", mx::zeros({kExperts, 32, kHidden}), 0);
  add(tensors, "packed", mx::zeros({kExperts, 32, kHidden}), 4);
  Weights weights(std::move(tensors), {});
  ExpertLinear(WeightPath(weights) / "plain", kExperts + 1, kHidden, 32);
  ExpertLinear(WeightPath(weights) / "packed", kExperts + 1, kHidden, 32);
  try {
    weights.check();
    FAIL() << "should be refused";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("plain.weight"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("packed must have 7 experts"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace mlxk
