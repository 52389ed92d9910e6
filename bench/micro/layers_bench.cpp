// Convolutions and mixtures of experts beside libmlx's own: "libmlx" in the name is the peer.
#include <benchmark/benchmark.h>

#include "cpu/phase.h"
#include "kernels/cpu/convolution.h"
#include "kernels/cpu/mixture.h"
#include "mlx/mlx.h"

namespace mlxk {
namespace {

using benchmark::State;

mx::array made(const mx::array& a) {
  mx::eval(a);
  return a;
}

struct ConvCase {
  const char* name;
  mx::Shape x, weight;
  ConvOptions options;
};

const ConvCase kConvolutions[] = {
    {"whisper_base_conv1", {1, 1, 3000, 80}, {512, 1, 3, 80}, {{1, 1}, {0, 1}, {1, 1}, 1}},
    {"whisper_base_conv2", {1, 1, 3000, 512}, {512, 1, 3, 512}, {{1, 2}, {0, 1}, {1, 1}, 1}},
    {"patches_448_by_14", {1, 448, 448, 3}, {1024, 14, 14, 3}, {{14, 14}, {0, 0}, {1, 1}, 1}},
    {"picture_3_by_3", {1, 112, 112, 32}, {64, 3, 3, 32}, {{2, 2}, {1, 1}, {1, 1}, 1}},
    {"depthwise_9", {1, 1, 1500, 512}, {512, 1, 9, 1}, {{1, 1}, {0, 4}, {1, 1}, 512}},
};

void convolution(State& state) {
  const ConvCase& c = kConvolutions[state.range(0)];
  const auto x = made(mx::random::uniform(-1.0F, 1.0F, c.x)), weight = made(mx::random::uniform(-1.0F, 1.0F, c.weight));
  const auto conv = cpu_conv(weight, std::nullopt, c.options);
  for (auto _ : state) mx::eval(cpu_convolved(x, conv));
  state.SetLabel(c.name);
}
void convolution_libmlx(State& state) {
  const ConvCase& c = kConvolutions[state.range(0)];
  const auto x = made(mx::random::uniform(-1.0F, 1.0F, c.x)), weight = made(mx::random::uniform(-1.0F, 1.0F, c.weight));
  for (auto _ : state)
    mx::eval(mx::conv2d(x, weight, c.options.stride, c.options.padding, c.options.dilation, c.options.groups));
  state.SetLabel(c.name);
}
BENCHMARK(convolution)->DenseRange(0, std::size(kConvolutions) - 1)->UseRealTime();
BENCHMARK(convolution_libmlx)->DenseRange(0, std::size(kConvolutions) - 1)->UseRealTime();

/// A layer's experts in the shape of a small mixture: 64 experts, 8 a token.
struct Mixture {
  static constexpr int kExperts = 64, kChosen = 8, kHidden = 1024, kWide = 512, kGroup = 64;

  explicit Mixture(int bits) : bits(bits) {}
  MatrixWeights stack(int rows, int columns) const {
    const auto w = mx::random::uniform(-1.0F, 1.0F, {kExperts, rows, columns});
    if (bits == 16) return {made(mx::astype(w, mx::bfloat16)), {}, {}, {}, rows, columns};
    const auto parts = mx::quantize(w, kGroup, bits);
    mx::eval(parts);
    return {parts[0], parts[1], parts[2], std::nullopt, rows, columns, bits, kGroup};
  }

  int bits;
  MatrixWeights gate = stack(kWide, kHidden), up = stack(kWide, kHidden), down = stack(kHidden, kWide);
};

struct Tokens {
  explicit Tokens(int n)
      : x(made(mx::random::uniform(-1.0F, 1.0F, {n, Mixture::kHidden}))),
        ids(made(
            mx::slice(mx::astype(mx::argsort(mx::random::uniform(-1.0F, 1.0F, {n, Mixture::kExperts}), -1), mx::uint32),
                      {0, 0}, {n, Mixture::kChosen}))),
        weights(made(mx::random::uniform({n, Mixture::kChosen}))) {}
  mx::array x, ids, weights;
};

void experts(State& state) {
  const auto n = static_cast<int>(state.range(1));
  const Mixture m(static_cast<int>(state.range(0)));
  const Tokens t(n);
  const auto layer = cpu_experts({m.gate, m.up, m.down});
  const PhaseScope phase(n < 32 ? Phase::decode : Phase::prefill);
  for (auto _ : state) mx::eval(cpu_gated_experts(t.x, t.ids, t.weights, layer));
}

/// As in mlx-lm: tokens sorted by expert from 64 pairs on.
void experts_libmlx(State& state) {
  const auto n = static_cast<int>(state.range(1));
  const Mixture m(static_cast<int>(state.range(0)));
  const Tokens t(n);
  const bool sorted = n * Mixture::kChosen >= 64;
  const auto product = [&](const mx::array& x, const MatrixWeights& w, const mx::array& ids) {
    if (w.bits == 0)
      return mx::gather_mm(x, mx::swapaxes(mx::astype(w.weight, mx::float32), -1, -2), std::nullopt, ids, sorted);
    return mx::gather_qmm(x, w.weight, *w.scales, w.biases, std::nullopt, ids, true, w.group, w.bits, "affine",
                          std::nullopt, sorted);
  };
  for (auto _ : state) {
    auto x = mx::expand_dims(t.x, std::vector<int>{-2, -3}), ids = t.ids, back = t.ids;
    if (sorted) {
      const auto flat = mx::flatten(ids), order = mx::argsort(flat);
      back = mx::argsort(order);
      x = mx::take(mx::flatten(x, 0, -3), mx::floor_divide(order, mx::array(static_cast<uint32_t>(Mixture::kChosen))),
                   0);
      ids = mx::take(flat, order);
    }
    const auto gate = product(x, m.gate, ids);
    auto y = product(mx::multiply(mx::multiply(gate, mx::sigmoid(gate)), product(x, m.up, ids)), m.down, ids);
    if (sorted) y = mx::unflatten(mx::take(y, back, 0), 0, {n, Mixture::kChosen});
    mx::eval(mx::sum(mx::multiply(mx::squeeze(y, -2), mx::expand_dims(t.weights, -1)), -2));
  }
}
BENCHMARK(experts)->ArgNames({"bits", "tokens"})->ArgsProduct({{4, 8, 16}, {1, 8, 512}})->UseRealTime();
BENCHMARK(experts_libmlx)->ArgNames({"bits", "tokens"})->ArgsProduct({{4}, {1, 8, 64}})->UseRealTime();

}  // namespace
}  // namespace mlxk
