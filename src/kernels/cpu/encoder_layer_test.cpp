// The layer as one operation against its parts, and a text's bits alone and beside others.
#include "kernels/cpu/encoder_layer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "cpu/phase.h"
#include "cpu/threads.h"
#include "kernels/cpu/norm.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/packed_attention.h"
#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"

namespace mlxk {
namespace {

constexpr int kHidden = 64, kWide = 192, kHeadDim = 16;

mx::array random(mx::Shape shape, uint64_t seed) { return mx::random::normal(std::move(shape), mx::random::key(seed)); }

MatrixWeights matrix(int rows, int columns, int bits, uint64_t seed) {
  const mx::array w = mx::divide(random({rows, columns}, seed), mx::array(8.0F));
  const mx::array bias = random({rows}, seed + 100);
  if (bits == 0) return {w, std::nullopt, std::nullopt, bias, rows, columns};
  const auto packed = mx::quantize(w, 64, bits);
  return {packed[0], packed[1], packed[2], bias, rows, columns, bits, 64};
}

EncoderLayerOp layer(int bits, std::vector<int> lengths) {
  std::vector<MatrixWeights> qkv;
  for (uint64_t i = 0; i < 3; ++i) qkv.push_back(matrix(kHidden, kHidden, bits, i));
  const auto norm = [](uint64_t seed) {
    return NormWeights{random({kHidden}, seed), 1e-12F, true, random({kHidden}, seed + 1)};
  };
  EncoderLayerOp op{cpu_layer(std::move(qkv)),
                    cpu_layer({matrix(kHidden, kHidden, bits, 4)}),
                    cpu_layer({matrix(kWide, kHidden, bits, 5), matrix(kHidden, kWide, bits, 6)}),
                    norm(20),
                    norm(30),
                    kHeadDim,
                    0.25F,
                    Activation::gelu,
                    std::move(lengths)};
  for (const Packed& part : {op.qkv, op.out, op.mlp}) EXPECT_NE(part, nullptr);
  for (NormWeights* one : {&op.attention_norm, &op.mlp_norm}) mx::eval(one->weight, *one->bias);
  return op;
}

mx::array by_parts(const mx::array& x, const EncoderLayerOp& op) {
  const auto parts = [&] {
    const PhaseScope scores(current_phase() == Phase::embed ? Phase::encode : current_phase());
    return cpu_matmuls(x, op.qkv);
  }();
  const mx::array seen = cpu_packed_attention({parts[0], parts[1], parts[2], op.lengths, op.head_dim, op.scale});
  const auto norm = [](const mx::array& y, const NormWeights& n) { return cpu_layer_norm(y, n.weight, n.bias, n.eps); };
  const mx::array h = norm(cpu_matmul_residual(seen, op.out, 1, x), op.attention_norm);
  return norm(cpu_mlp(h, op.mlp, 1), op.mlp_norm);
}

std::vector<float> numbers(mx::array x) {
  x.eval();
  return {x.data<float>(), x.data<float>() + x.size()};
}

TEST(CpuEncoderLayer, HasTheBitsOfItsPartsWithAnyNumberOfTexts) {
  for (const int bits : {0, 4, 8}) {
    const PhaseScope phase(Phase::embed);
    std::vector<int> lengths;
    for (int i = 0; i < 24 * kernel_threads(); ++i) lengths.push_back(1 + 7 * i % 19);
    const int tokens = std::accumulate(lengths.begin(), lengths.end(), 0);
    const mx::array x = random({tokens, kHidden}, 50);
    EncoderLayerOp op = layer(bits, lengths);
    const std::vector<float> together = numbers(cpu_encoder_layer(x, op));
    EXPECT_EQ(together, numbers(by_parts(x, op))) << bits << " bits";
    int first = 0;
    for (const int length : {lengths[0], lengths[1], lengths[2]}) {
      op.lengths = {length};
      const auto alone =
          numbers(cpu_encoder_layer(mx::contiguous(mx::slice(x, {first, 0}, {first + length, kHidden})), op));
      EXPECT_EQ(std::memcmp(alone.data(), together.data() + first * kHidden, alone.size() * sizeof(float)), 0)
          << bits << " bits, " << length << " tokens";
      first += length;
    }
  }
}

TEST(CpuEncoderLayer, BytesStayNearTheFloats) {
  const mx::array x = random({40, kHidden}, 51);
  const EncoderLayerOp op = layer(8, {40});
  const auto in = [&](Phase phase) {
    const PhaseScope scope(phase);
    mx::array y = by_parts(x, op);
    y.eval();
    return y;
  };
  const mx::array exact = in(Phase::prefill), bytes = in(Phase::embed);
  const float error = mx::sqrt(mx::mean(mx::square(mx::subtract(exact, bytes)))).item<float>();
  EXPECT_LT(error, 0.02F * mx::sqrt(mx::mean(mx::square(exact))).item<float>());
}

}  // namespace
}  // namespace mlxk
