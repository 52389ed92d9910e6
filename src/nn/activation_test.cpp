#include "nn/activation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "mlx/ops.h"

namespace mlxk {
namespace {

std::vector<float> numbers(const mx::array& x) {
  mx::array y = mx::contiguous(mx::astype(x, mx::float32));
  y.eval();
  return {y.data<float>(), y.data<float>() + y.size()};
}

const std::vector<float> kInputs{-9, -2.5F, -0.3F, 0, 0.7F, 3, 11};
mx::array inputs() { return mx::array(kInputs.begin(), {7}, mx::float32); }

TEST(Activation, EqualsItsDefinition) {
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  const std::vector<std::pair<Activation::Kind, std::function<double(double)>>> kinds{
      {Activation::silu, [&](double x) { return x * sigmoid(x); }},
      {Activation::gelu, [](double x) { return x / 2 * (1 + std::erf(x / std::sqrt(2.0))); }},
      {Activation::gelu_tanh,
       [](double x) { return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }},
      {Activation::quick_gelu, [&](double x) { return x * sigmoid(1.702 * x); }},
      {Activation::relu, [](double x) { return std::max(x, 0.0); }},
      {Activation::relu_squared, [](double x) { return std::max(x, 0.0) * std::max(x, 0.0); }},
      {Activation::sigmoid, sigmoid},
      {Activation::softplus, [](double x) { return std::log1p(std::exp(x)); }},
      {Activation::tanh, [](double x) { return std::tanh(x); }}};
  for (const auto& [kind, wanted] : kinds) {
    const auto got = numbers(activate(kind, inputs()));
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_NEAR(got[i], wanted(kInputs[i]), 1e-5) << kind << " of " << kInputs[i];
  }
}

TEST(Activation, XieluTakesItsParameters) {
  Activation xielu = Activation::xielu;
  xielu.parameters = mx::array({0.3F, -0.2F, 0.5F, -1e-6F});
  const double alpha_p = std::log1p(std::exp(0.3)), alpha_n = 0.5 + std::log1p(std::exp(-0.2));
  const auto got = numbers(activate(xielu, inputs()));
  for (size_t i = 0; i < got.size(); ++i) {
    const double x = kInputs[i];
    const double wanted = x > 0 ? alpha_p * x * x + 0.5 * x : (std::expm1(std::min(x, -1e-6)) - x) * alpha_n + 0.5 * x;
    EXPECT_NEAR(got[i], wanted, 1e-4) << x;
  }
}

TEST(Activation, LimitsGateAndUp) {
  const mx::array up({-9.0F, -1.0F, 0.5F, 2.0F, 8.0F, -3.0F, 1.0F});
  const std::vector<float> ups = numbers(up);
  const auto oai = numbers(activate_gated({Activation::swiglu_oai, 7}, inputs(), up));
  const auto silu = numbers(activate_gated({Activation::silu, 2}, inputs(), up));
  for (size_t i = 0; i < oai.size(); ++i) {
    const double gate = std::min(kInputs[i], 7.0F), above = std::clamp(ups[i], -7.0F, 7.0F);
    EXPECT_NEAR(oai[i], gate / (1 + std::exp(-1.702 * gate)) * (above + 1), 1e-4) << i;
    const double opened = std::min(kInputs[i] / (1 + std::exp(-kInputs[i])), 2.0F);
    EXPECT_NEAR(silu[i], opened * std::clamp(ups[i], -2.0F, 2.0F), 1e-4) << i;
  }
}

}  // namespace
}  // namespace mlxk
