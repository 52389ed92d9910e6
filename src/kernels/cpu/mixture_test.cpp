#include "kernels/cpu/mixture.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "mlx/fast.h"
#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"

namespace mlxk {
namespace {

/// The largest difference in a row relative to the row's largest value; the worst of all rows.
float relative_error(const mx::array& y, const mx::array& exact) {
  const auto worst = mx::max(mx::abs(mx::subtract(y, exact)), -1);
  return mx::max(mx::divide(worst, mx::max(mx::abs(exact), -1))).item<float>();
}

class CpuExpertsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!cpu_is_default()) GTEST_SKIP() << "libmlx's default device is not the CPU";
    mx::random::seed(5);
  }
};

MatrixWeights stack_of(int experts, int rows, int columns, int bits, mx::Dtype type = mx::float32) {
  const auto w = mx::astype(mx::random::normal({experts, rows, columns}), type);
  if (bits == 0) return {w, {}, {}, {}, rows, columns};
  const auto parts = mx::quantize(w, 32, bits);
  return {parts[0], parts[1], parts[2], std::nullopt, rows, columns, bits, 32};
}

mx::array floats_of(const MatrixWeights& m) {
  if (m.bits == 0) return mx::astype(m.weight, mx::float32);
  return mx::dequantize(m.weight, mx::astype(*m.scales, mx::float32), mx::astype(*m.biases, mx::float32), m.group,
                        m.bits);
}

/// [n, columns] or [n, k, columns] times the chosen matrices: [n, k, rows].
mx::array chosen(const mx::array& x, const mx::array& ids, const MatrixWeights& stack) {
  const auto w = mx::take(floats_of(stack), ids, 0);  // [n, k, rows, columns]
  const auto v = x.ndim() == 2 ? mx::expand_dims(x, 1) : x;
  auto y = mx::squeeze(mx::matmul(w, mx::expand_dims(v, -1)), -1);
  return stack.bias ? mx::add(y, mx::take(*stack.bias, ids, 0)) : y;
}

mx::array random_ids(int n, int k, int experts) { return mx::random::randint(0, experts, {n, k}, mx::uint32); }

mx::array silu(const mx::array& x) { return mx::multiply(x, mx::sigmoid(x)); }

TEST_F(CpuExpertsTest, GatherProductEqualsItsOperationsForEveryPacking) {
  for (const int bits : {0, 2, 3, 4, 5, 6, 8}) {
    for (const mx::Dtype type : {mx::float32, mx::bfloat16, mx::float16}) {
      MatrixWeights stack = stack_of(5, 37, 96, bits, type);
      if (bits == 4) stack.bias = mx::random::normal({5, 37});
      for (const int n : {1, 3, 40}) {
        const auto x = mx::random::normal({n, 96}), ids = random_ids(n, 3, 5);
        for (const Phase phase : {Phase::decode, Phase::prefill}) {
          const PhaseScope scope(phase);
          EXPECT_LT(relative_error(cpu_gather_matmul(x, ids, cpu_stack(stack)), chosen(x, ids, stack)), 1e-4)
              << bits << " bits, " << n;
        }
      }
    }
  }
}

TEST_F(CpuExpertsTest, NoTokensGiveNoRows) {
  const auto y =
      cpu_gather_matmul(mx::zeros({0, 64}), mx::zeros({0, 2}, mx::uint32), cpu_stack(stack_of(3, 16, 64, 4)));
  EXPECT_EQ(y.shape(), (mx::Shape{0, 2, 16}));
  mx::eval(y);
}

TEST_F(CpuExpertsTest, AnIdThatIsNoExpertPoisonsItsOwnRowOnly) {
  const auto x = mx::random::normal({2, 64});
  const uint32_t numbers[] = {0, 3, 1, 2};
  const auto y = cpu_gather_matmul(x, mx::array(numbers, {2, 2}, mx::uint32), cpu_stack(stack_of(3, 16, 64, 4)));
  mx::eval(y);
  for (int row = 0; row < 4; ++row) EXPECT_EQ(std::isnan(y.data<float>()[row * 16]), row == 1) << row;
}

TEST_F(CpuExpertsTest, GatedExpertsEqualTheirOperations) {
  const MatrixWeights gate = stack_of(6, 64, 96, 4), up = stack_of(6, 64, 96, 8),
                      down = stack_of(6, 96, 64, 0, mx::bfloat16);
  const auto experts = cpu_experts({gate, up, down});
  for (const int n : {1, 7, 300}) {
    const auto x = mx::random::normal({1, n, 96}), ids = random_ids(n, 4, 6), weights = mx::random::uniform({n, 4});
    const auto rows = mx::squeeze(x, 0);
    const auto inner = mx::multiply(silu(chosen(rows, ids, gate)), chosen(rows, ids, up));
    const auto exact = mx::sum(mx::multiply(chosen(inner, ids, down), mx::expand_dims(weights, -1)), 1);
    for (const Phase phase : {Phase::decode, Phase::prefill}) {
      const PhaseScope scope(phase);
      const auto y = cpu_gated_experts(x, mx::expand_dims(ids, 0), mx::expand_dims(weights, 0), experts);
      EXPECT_LT(relative_error(mx::squeeze(y, 0), exact), 1e-4) << n;
    }
  }
}

TEST_F(CpuExpertsTest, MixtureIsNormRouterExpertsAndResidual) {
  const MatrixWeights gate = stack_of(8, 64, 96, 4), up = stack_of(8, 64, 96, 4), down = stack_of(8, 96, 64, 4);
  const MatrixWeights router{mx::random::normal({8, 96}), {}, {}, {}, 8, 96};
  const NormWeights norm{mx::random::normal({96}), 1e-5F};
  RoutingRule rule;
  rule.top_k = 3;
  rule.normalise = true;
  const auto x = mx::random::normal({2, 5, 96});
  const auto h = mx::reshape(mx::fast::rms_norm(x, norm.weight, norm.eps), {10, 96});
  const auto scores = mx::softmax(mx::matmul(h, mx::transpose(router.weight)), -1);
  const auto ids = mx::astype(mx::slice(mx::argsort(mx::negative(scores), -1), {0, 0}, {10, 3}), mx::uint32);
  auto weights = mx::take_along_axis(scores, ids, -1);
  weights = mx::divide(weights, mx::sum(weights, -1, true));
  const auto inner = mx::multiply(silu(chosen(h, ids, gate)), chosen(h, ids, up));
  const auto sum = mx::sum(mx::multiply(chosen(inner, ids, down), mx::expand_dims(weights, -1)), 1);
  const auto exact = mx::add(x, mx::multiply(mx::array(0.5F), mx::reshape(sum, x.shape())));
  const auto experts = cpu_experts({gate, up, down, Activation::silu, norm, router, rule, std::nullopt});
  for (const Phase phase : {Phase::decode, Phase::prefill}) {
    const PhaseScope scope(phase);
    EXPECT_LT(relative_error(cpu_mixture(x, experts, 0.5F), exact), 1e-4);
  }
}

TEST_F(CpuExpertsTest, ATokenHasTheSameBitsWhateverIsComputedWithIt) {
  const MatrixWeights gate = stack_of(8, 64, 96, 4), up = stack_of(8, 64, 96, 3), down = stack_of(8, 96, 64, 4);
  const MatrixWeights router{mx::random::normal({8, 96}), {}, {}, {}, 8, 96};
  RoutingRule rule;
  rule.top_k = 2;
  const auto experts = cpu_experts({gate, up, down, Activation::silu, std::nullopt, router, rule, std::nullopt});
  const auto x = mx::random::normal({700, 96});  // more pairs than a block
  for (const Phase phase : {Phase::decode, Phase::prefill}) {
    const PhaseScope scope(phase);
    const auto together = cpu_mixture(x, experts, 1);
    for (const auto& [begin, end] : {std::pair{0, 1}, {5, 8}, {30, 63}, {690, 700}}) {
      const auto part = cpu_mixture(mx::slice(x, {begin, 0}, {end, 96}), experts, 1);
      EXPECT_TRUE(mx::array_equal(part, mx::slice(together, {begin, 0}, {end, 96})).item<bool>()) << begin;
    }
  }
}

TEST_F(CpuExpertsTest, StacksThatDoNotFitTogetherAreRefused) {
  const MatrixWeights gate = stack_of(4, 64, 96, 4), down = stack_of(4, 96, 64, 4);
  EXPECT_THROW(cpu_experts({gate, stack_of(3, 64, 96, 4), down}), std::invalid_argument);
  EXPECT_THROW(cpu_experts({gate, gate, stack_of(4, 64, 64, 4)}), std::invalid_argument);
}

TEST(Routing, TakesTheBestAndBreaksTiesByNumber) {
  const float logits[] = {1, 3, 3, 2, -1};
  uint32_t ids[3];
  float weights[3];
  RoutingRule rule;
  rule.top_k = 3;
  rule.normalise = true;
  rule.scale = 2;
  route(rule, logits, 1, 5, ids, weights);
  EXPECT_EQ(ids[0], 1U);
  EXPECT_EQ(ids[1], 2U);
  EXPECT_EQ(ids[2], 3U);
  EXPECT_NEAR(weights[0] + weights[1] + weights[2], 2, 1e-6);
  EXPECT_NEAR(weights[2] / weights[0], std::exp(-1), 1e-6);
}

TEST(Routing, ABiasChoosesButDoesNotWeigh) {
  const float logits[] = {0, 1, 2}, bias[] = {5, 0, 0};
  uint32_t ids[2];
  float weights[2];
  RoutingRule rule;
  rule.top_k = 2;
  rule.score = RoutingRule::Score::sigmoid;
  rule.selection_bias = bias;
  route(rule, logits, 1, 3, ids, weights);
  EXPECT_EQ(ids[0], 0U);
  EXPECT_EQ(ids[1], 2U);
  EXPECT_FLOAT_EQ(weights[0], 0.5F);
  EXPECT_FLOAT_EQ(weights[1], 1 / (1 + std::exp(-2.0F)));
}

TEST(Routing, ScoresThatAreNotFiniteGiveNanWeights) {
  const float logits[] = {0, NAN, 2};
  uint32_t ids[2] = {9, 9};
  float weights[2];
  RoutingRule rule;
  rule.top_k = 2;
  route(rule, logits, 1, 3, ids, weights);
  EXPECT_LT(ids[1], 3U);
  EXPECT_TRUE(std::isnan(weights[0]));
}

}  // namespace
}  // namespace mlxk
