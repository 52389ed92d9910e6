#include "kernels/cuda/cuda_mixture.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/cuda/testing.h"

namespace mlxk {
namespace {

class CudaMixtureTest : public testing::Test {
 protected:
  void SetUp() override {
    if (mx::default_device() != mx::Device::gpu) GTEST_SKIP() << "libmlx's default device is not a GPU";
    mx::random::seed(4);
  }
};

using Maker = std::function<MatrixWeights(int rows, int columns)>;

/// One matrix per expert.
MatrixWeights stack_of(const Maker& make, int experts, int rows, int columns) {
  MatrixWeights stack = make(experts * rows, columns);
  const auto split = [&](mx::array& a) { a = mx::reshape(a, {experts, rows, a.shape(1)}); };
  split(stack.weight);
  if (stack.scales) split(*stack.scales);
  if (stack.biases) split(*stack.biases);
  stack.rows = rows;
  return stack;
}

MixtureWeights mixture_of(const Maker& make, int experts, int hidden, int inner, RoutingRule rule, mx::Dtype type) {
  MixtureWeights m{stack_of(make, experts, inner, hidden), stack_of(make, experts, inner, hidden),
                   stack_of(make, experts, hidden, inner)};
  m.norm = NormWeights{mx::multiply(normal({hidden}, type), mx::array(0.1F, type)), 1e-5F};
  m.router = packed(experts, hidden, 8, 64, mx::bfloat16);
  m.rule = rule;
  return m;
}

/// Expert e's matrix as floats [rows, columns].
mx::array expert(const MatrixWeights& stack, int e) {
  const auto at = [&](const mx::array& a) {
    return mx::squeeze(mx::slice(a, {e, 0, 0}, {e + 1, a.shape(1), a.shape(2)}), 0);
  };
  MatrixWeights one = stack;
  one.weight = at(stack.weight);
  if (stack.scales) one.scales = at(*stack.scales);
  if (stack.biases) one.biases = at(*stack.biases);
  return unpacked(one);
}

mx::array times(const mx::array& x, const mx::array& w) {
  return mx::sum(mx::multiply(mx::expand_dims(mx::astype(x, mx::float32), -2), w), -1);
}

/// The mixture's output, token by token and expert by expert, routed as on the CPU.
mx::array exact(const mx::array& x, const MixtureWeights& m, float multiplier, const mx::array& residual) {
  const int tokens = x.shape(0), experts = m.router->rows, k = m.rule.top_k;
  const mx::array h = normed(x, m.norm);
  mx::array logits = mx::contiguous(product(h, *m.router));
  mx::eval(logits);
  RoutingRule rule = m.rule;
  mx::array bias = m.selection_bias.value_or(mx::zeros({1})), scale = m.expert_scale.value_or(mx::zeros({1}));
  mx::eval(bias, scale);
  if (m.selection_bias) rule.selection_bias = bias.data<float>();
  if (m.expert_scale) rule.expert_scale = scale.data<float>();
  std::vector<uint32_t> ids(static_cast<size_t>(tokens * k));
  std::vector<float> weights(ids.size());
  route(rule, logits.data<float>(), tokens, experts, ids.data(), weights.data());
  std::vector<mx::array> gates, ups, downs;
  for (int e = 0; e < experts; ++e) {
    gates.push_back(expert(m.gate, e));
    ups.push_back(expert(m.up, e));
    downs.push_back(expert(m.down, e));
  }
  std::vector<mx::array> rows;
  for (int t = 0; t < tokens; ++t) {
    const mx::array own = mx::slice(h, {t, 0}, {t + 1, h.shape(1)});
    mx::array sum = mx::zeros({1, h.shape(1)});
    for (int j = 0; j < k; ++j) {
      const size_t at = static_cast<size_t>(t * k + j), e = ids[at];
      const mx::array a = times(own, gates[e]);
      const mx::array inner = mx::astype(mx::multiply(mx::multiply(a, mx::sigmoid(a)), times(own, ups[e])), x.dtype());
      sum = mx::add(sum, mx::multiply(times(inner, downs[e]), mx::array(weights[at])));
    }
    rows.push_back(sum);
  }
  const mx::array all = mx::concatenate(rows, 0);
  return mx::add(mx::astype(residual, mx::float32), mx::multiply(all, mx::array(multiplier)));
}

mx::array mixed(const mx::array& x, const MixtureWeights& m, float multiplier = 1,
                const std::optional<mx::array>& residual = std::nullopt) {
  const auto layer = cuda_mixture_layer(m, 0);
  EXPECT_TRUE(layer);
  if (x.shape(0) <= kCudaFewRows) return cuda_mixture(x, layer, multiplier, residual);
  return cuda_mixture(x, layer, multiplier, residual, product(normed(x, m.norm), *m.router));
}

// One token, few that read their own experts, and many that share them, in groups of one and of several tiles.
constexpr int kTokens[] = {1, 2, 5, 40, 150, 400};

TEST_F(CudaMixtureTest, EveryPackingEqualsFloat32Sums) {
  struct Case {
    const char* name;
    Maker make;
  };
  const Case cases[] = {
      {"4 bits, 64", [](int r, int c) { return packed(r, c, 4, 64, mx::bfloat16); }},
      {"4 bits, 32", [](int r, int c) { return packed(r, c, 4, 32, mx::bfloat16); }},
      {"8 bits, 64", [](int r, int c) { return packed(r, c, 8, 64, mx::bfloat16); }},
      {"mxfp4", [](int r, int c) { return mxfp4(r, c); }},
      {"bfloat16", [](int r, int c) { return plain(r, c); }},
  };
  for (const Case& kind : cases) {
    for (const mx::Dtype type : {mx::bfloat16, mx::float32}) {
      if (type == mx::float32 && kind.name[0] != '4') continue;  // each is compiled
      // grouped.cu takes stages of 128 columns, and other kernels take 192.
      for (const int inner : {192, 256}) {
        const MixtureWeights m = mixture_of(kind.make, 12, 256, inner, {.top_k = 3, .normalise = true}, type);
        for (const int tokens : kTokens) {
          const auto x = normal({tokens, 256}, type);
          EXPECT_LT(relative_error(mixed(x, m), exact(x, m, 1, x)), 2 * tolerance(type))
              << kind.name << ", " << tokens << " tokens, " << inner << " inner columns, type " << type.size();
        }
      }
    }
  }
}

TEST_F(CudaMixtureTest, WholeRoundsOfEachExpertEqualFloat32Sums) {
  const Maker make = [](int r, int c) { return packed(r, c, 4, 64, mx::bfloat16); };
  const MixtureWeights m = mixture_of(make, 8, 2048, 256, {.top_k = 8}, mx::bfloat16);
  for (const int tokens : {1, 9}) {
    const auto x = normal({tokens, 2048}, mx::bfloat16), residual = normal({tokens, 2048}, mx::bfloat16);
    EXPECT_LT(relative_error(mixed(x, m, 0.5F, residual), exact(x, m, 0.5F, residual)), 2 * tolerance(mx::bfloat16));
  }
}

TEST_F(CudaMixtureTest, EveryRuleChoosesAsOnTheCpu) {
  const Maker make = [](int r, int c) { return packed(r, c, 4, 64, mx::bfloat16); };
  using Score = RoutingRule::Score;
  for (const Score score : {Score::softmax, Score::sigmoid, Score::softmax_of_chosen}) {
    for (const bool biased : {false, true}) {
      for (const int groups : {1, 4}) {
        RoutingRule rule{
            .top_k = 4, .score = score, .normalise = biased, .scale = 1.5F, .eps = 1e-6F, .groups = groups};
        rule.top_groups = groups == 1 ? 1 : 2;
        rule.group_best = 2;
        MixtureWeights m = mixture_of(make, 40, 128, 64, rule, mx::float32);
        if (biased) {
          m.selection_bias = mx::random::normal({40});
          m.expert_scale = mx::random::uniform({40});
        }
        for (const int tokens : {1, 70}) {
          const auto x = normal({tokens, 128}, mx::float32);
          EXPECT_LT(relative_error(mixed(x, m), exact(x, m, 1, x)), 2 * tolerance(mx::float32))
              << static_cast<int>(score) << ", bias " << biased << ", " << groups << " groups, " << tokens << " tokens";
        }
      }
    }
  }
}

TEST_F(CudaMixtureTest, BiasesOfExpertsAreAdded) {
  const Maker make = [](int r, int c) { return packed(r, c, 4, 64, mx::bfloat16); };
  MixtureWeights m = mixture_of(make, 4, 128, 64, {.top_k = 2}, mx::float32);
  const MixtureWeights without = m;
  m.down.bias = mx::random::normal({4, 128});
  for (const int tokens : {1, 30}) {
    const auto x = normal({tokens, 128}, mx::float32);
    // The weights of a softmax over all experts need not sum to one, so the difference shows what was added.
    const mx::array added = mx::subtract(mixed(x, m), mixed(x, without));
    MixtureWeights zeros = m;
    for (auto* stack : {&zeros.gate, &zeros.up, &zeros.down}) {
      stack->scales = mx::zeros_like(*stack->scales);
      stack->biases = mx::zeros_like(*stack->biases);
    }
    EXPECT_LT(relative_error(added, mx::subtract(mixed(x, zeros), x)), 1e-4) << tokens;
    EXPECT_GT(mx::max(mx::abs(added)).item<float>(), 0.1F);
  }
}

TEST_F(CudaMixtureTest, ATokenThatIsNotFiniteChangesNoOther) {
  const Maker make = [](int r, int c) { return packed(r, c, 4, 64, mx::bfloat16); };
  const MixtureWeights m = mixture_of(make, 8, 128, 64, {.top_k = 2}, mx::float32);
  const auto layer = cuda_mixture_layer(m, 0);
  for (const int tokens : {2, 20}) {
    const auto x = normal({tokens, 128}, mx::float32);
    const mx::array spoilt =
        mx::concatenate({mx::full({1, 8}, std::numeric_limits<float>::quiet_NaN()), mx::zeros({tokens - 1, 8})}, 0);
    const mx::array y = cuda_mixture(x, layer, 1, std::nullopt, spoilt);
    const mx::array bad = mx::any(mx::isnan(y), -1);
    EXPECT_TRUE(mx::slice(bad, {0}, {1}).item<bool>());
    EXPECT_FALSE(mx::any(mx::slice(bad, {1}, {tokens})).item<bool>()) << tokens;
  }
}

TEST_F(CudaMixtureTest, NoTokensGiveNoRows) {
  const Maker make = [](int r, int c) { return packed(r, c, 4, 64, mx::bfloat16); };
  const auto layer = cuda_mixture_layer(mixture_of(make, 4, 128, 64, {.top_k = 2}, mx::bfloat16), 0);
  const mx::array y = cuda_mixture(mx::zeros({0, 128}, mx::bfloat16), layer, 1, std::nullopt);
  mx::eval(y);
  EXPECT_EQ(y.shape(), (mx::Shape{0, 128}));
}

TEST_F(CudaMixtureTest, RefusesStacksThatDoNotFit) {
  const Maker make = [](int r, int c) { return packed(r, c, 4, 64, mx::bfloat16); };
  MixtureWeights m = mixture_of(make, 4, 128, 64, {.top_k = 2}, mx::bfloat16);
  m.down = stack_of(make, 3, 128, 64);
  EXPECT_FALSE(cuda_mixture_layer(m, 0));
  m = mixture_of(make, 4, 128, 64, {.top_k = 5}, mx::bfloat16);
  EXPECT_FALSE(cuda_mixture_layer(m, 0));
}

}  // namespace
}  // namespace mlxk
