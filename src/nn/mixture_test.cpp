#include "nn/mixture.h"

#include <gtest/gtest.h>

#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"

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

TEST(Router, ChoosesAsTheKernelDoes) {
  constexpr int kMany = 16;
  mx::random::seed(3);
  const mx::array bias = mx::random::normal({kMany}), scale = mx::random::uniform({kMany});
  const auto h = mx::random::normal({9, kHidden});
  for (const auto score :
       {RoutingRule::Score::softmax, RoutingRule::Score::sigmoid, RoutingRule::Score::softmax_of_chosen}) {
    for (const int groups : {1, 4}) {
      for (const int group_best : {1, 2}) {
        RoutingRule rule{.top_k = 3, .score = score, .normalise = true, .scale = 1.5F, .eps = 0.01F};
        rule.groups = groups;
        rule.top_groups = groups == 1 ? 1 : 2;
        rule.group_best = group_best;
        Weights own({{"r.weight", mx::random::normal({kMany, kHidden}, mx::random::key(5))}}, {});
        const Router router{Linear(WeightPath(own, "r"), kHidden, kMany), rule, bias, scale};
        auto [ids, factors] = router(h);
        mx::array logits = mx::contiguous(router.scores(h)), wanted = mx::contiguous(factors);
        mx::array chosen = mx::contiguous(ids), b = mx::contiguous(bias), s = mx::contiguous(scale);
        mx::eval({logits, wanted, chosen, b, s});
        rule.selection_bias = b.data<float>();
        rule.expert_scale = s.data<float>();
        std::vector<uint32_t> got(27);
        std::vector<float> got_weights(27);
        route(rule, logits.data<float>(), 9, kMany, got.data(), got_weights.data());
        for (size_t i = 0; i < got.size(); ++i) {
          EXPECT_EQ(got[i], chosen.data<uint32_t>()[i]) << groups << " groups, " << i;
          EXPECT_NEAR(got_weights[i], wanted.data<float>()[i], 1e-5) << groups << " groups, " << i;
        }
      }
    }
  }
}

TEST(MixtureResidual, AddsASharedExpertAndScalesInputs) {
  RoutingRule rule;
  rule.top_k = 1;
  MixtureResidual block = mixture(0, rule, false, 0.5F);
  const auto x = mx::random::normal({2, 3, kHidden});
  const mx::array plain = block(x), h = (*block.norm)(x);
  Weights weights({{"gate.weight", mx::random::normal({kWide, kHidden})},
                   {"up.weight", mx::random::normal({kWide, kHidden})},
                   {"down.weight", mx::random::normal({kHidden, kWide})},
                   {"open.weight", mx::random::normal({1, kHidden})}},
                  {});
  const WeightPath root(weights);
  block.shared = SharedExpert{{std::nullopt, Linear(root / "gate", kHidden, kWide), Linear(root / "up", kHidden, kWide),
                               Linear(root / "down", kWide, kHidden)},
                              Linear(root / "open", kHidden, 1)};
  const mx::array opened = mx::sigmoid((*block.shared->gate)(h)), seen = block.shared->mlp.inner(h);
  const mx::array wanted = mx::add(plain, mx::multiply(mx::array(0.5F), mx::multiply(opened, seen)));
  const float size = mx::max(mx::abs(wanted)).item<float>();
  for (const mx::array& got : {block(x), block.by_operations(x)}) {
    EXPECT_LE(mx::max(mx::abs(mx::subtract(got, wanted))).item<float>(), 1e-4F * size);
  }
  block.shared.reset();
  block.multiplier = 1;
  block.scales_input = true;
  const mx::array rows = mx::reshape(h, {-1, kHidden});
  const auto [ids, factors] = block.router(rows);
  const mx::array scaled = mx::multiply(rows, factors);
  const mx::array inner =
      mx::multiply(activate(Activation::silu, block.gate->of_chosen(scaled, ids)), block.up.of_chosen(scaled, ids));
  const mx::array expert = mx::reshape(block.down.of_chosen(inner, ids), x.shape());
  EXPECT_LE(mx::max(mx::abs(mx::subtract(block.by_operations(x), mx::add(x, expert)))).item<float>(), 1e-4F * size);
}

TEST(ExpertLinear, GivesTheSameByLibmlxAndByTheDevice) {
  mx::random::seed(4);
  const auto x = mx::random::normal({5, kHidden});
  const mx::array ids({0, 3, 5, 1, 1, 2, 4, 0, 2, 5}, {5, 2}, mx::uint32);
  for (const int bits : {0, 4, kMxfp4}) {
    Weights::Tensors tensors;
    add(tensors, "w", mx::random::normal({kExperts, kWide, kHidden}), bits);
    tensors.emplace("w.bias", mx::random::normal({kExperts, kWide}));
    Weights weights(std::move(tensors), {});
    const ExpertLinear linear(WeightPath(weights, "w"), kExperts, kHidden, kWide, true);
    const mx::array wanted = mx::squeeze(linear(mx::expand_dims(x, std::vector<int>{1, 2}), ids), 2);
    const float size = mx::max(mx::abs(wanted)).item<float>();
    EXPECT_LE(mx::max(mx::abs(mx::subtract(linear.of_chosen(x, ids), wanted))).item<float>(), 1e-3F * size) << bits;
    const mx::array repeated = mx::repeat(mx::expand_dims(x, 1), 2, 1);
    EXPECT_LE(mx::max(mx::abs(mx::subtract(linear.of_chosen(repeated, ids), wanted))).item<float>(), 1e-3F * size);
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
