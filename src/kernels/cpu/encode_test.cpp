// The arithmetic of encoders, in every table that this machine runs, against float64.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "cpu/features.h"
#include "cpu/phase.h"
#include "cpu/scratch.h"
#include "kernels/cpu/head_attention.h"
#include "kernels/cpu/ops.h"
#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"

namespace mlxk {
namespace {

std::vector<float> normal(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> x(static_cast<size_t>(count));
  for (float& v : x) v = distribution(random);
  return x;
}

/// x [n, columns] · w [rows, columns]ᵀ + bias by one table, in two calls that begin at different panels.
std::vector<float> product(const CpuKernels& kernels, const std::vector<float>& x, const std::vector<float>& w,
                           const float* bias, int64_t n, int64_t rows, int64_t columns) {
  I16Rows shorts{};
  kernels.i16_layout(columns, &shorts);
  std::vector<int16_t> q(static_cast<size_t>(n * shorts.stride));
  std::vector<float> scales(static_cast<size_t>(n * shorts.units)), y(static_cast<size_t>(n * rows));
  shorts.q = q.data();
  shorts.scales = scales.data();
  for (int64_t r = 0; r < n; ++r) kernels.i16_row(x.data() + r * columns, columns, &shorts, r);
  Scratch scratch;
  void* memory = scratch.bytes(static_cast<size_t>(kernels.i16_scratch(columns)));
  const FloatWeight weight{w.data(), rows, columns, columns, kFloat32};
  const int64_t panels = (rows + kernels.lanes - 1) / kernels.lanes, middle = panels / 2;
  kernels.i16_panels(&weight, bias, &shorts, n, 0, middle, y.data(), rows, memory, nullptr);
  kernels.i16_panels(&weight, bias, &shorts, n, middle, panels, y.data(), rows, memory, nullptr);
  return y;
}

TEST(EncodeProducts, AreAsNearAsHalfFloats) {
  for (const CpuKernels* kernels : available_kernels()) {
    for (const auto& [n, rows, columns] :
         {std::tuple<int64_t, int64_t, int64_t>{13, 50, 512}, {3, 16, 240}, {1, 33, 7}}) {
      SCOPED_TRACE(std::string(kernels->name) + " " + std::to_string(columns));
      const auto x = normal(n * columns, 1), w = normal(rows * columns, 2), bias = normal(rows, 3);
      const auto y = product(*kernels, x, w, bias.data(), n, rows, columns);
      double error = 0;
      for (int64_t r = 0; r < n; ++r) {
        for (int64_t i = 0; i < rows; ++i) {
          double sum = bias[static_cast<size_t>(i)];
          for (int64_t k = 0; k < columns; ++k) {
            sum +=
                static_cast<double>(x[static_cast<size_t>(r * columns + k)]) * w[static_cast<size_t>(i * columns + k)];
          }
          error = std::max(error, std::abs(sum - y[static_cast<size_t>(r * rows + i)]));
        }
      }
      EXPECT_LT(error, 2e-3 * std::sqrt(static_cast<double>(columns)));  // of sums whose deviation is that root
    }
  }
}

TEST(EncodeProducts, ARowsBitsDoNotDependOnItsNeighbours) {
  for (const CpuKernels* kernels : available_kernels()) {
    const int64_t n = 11, rows = 40, columns = 256;
    const auto x = normal(n * columns, 4), w = normal(rows * columns, 5);
    const auto all = product(*kernels, x, w, nullptr, n, rows, columns);
    for (int64_t r = 0; r < n; ++r) {
      const std::vector<float> one(x.begin() + r * columns, x.begin() + (r + 1) * columns);
      const auto y = product(*kernels, one, w, nullptr, 1, rows, columns);
      for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], all[static_cast<size_t>(r * rows) + i]);
    }
  }
}

TEST(EncodeProducts, ANanReachesItsRowAndNoOther) {
  for (const CpuKernels* kernels : available_kernels()) {
    auto x = normal(2 * 128, 6);
    x[5] = std::nanf("");
    const auto y = product(*kernels, x, normal(16 * 128, 7), nullptr, 2, 16, 128);
    for (size_t i = 0; i < 16; ++i) {
      EXPECT_TRUE(std::isnan(y[i]));
      EXPECT_TRUE(std::isfinite(y[16 + i]));
    }
  }
}

TEST(EncodeAttention, IsNearTheDefinition) {
  const int tokens = 77, queries = 31, dim = 24;
  const auto q = normal(queries * dim, 1), k = normal(tokens * dim, 2), v = normal(tokens * dim, 3);
  for (const CpuKernels* kernels : available_kernels()) {
    SCOPED_TRACE(kernels->name);
    const HeadSpan keys{k.data(), dim, tokens, kFloat32}, values{v.data(), dim, tokens, kFloat32};
    std::vector<float> y(static_cast<size_t>(queries * dim));
    Scratch scratch;
    kernels->i16_attention(&keys, &values, dim, q.data(), dim, queries, 0.2F, y.data(), dim,
                           scratch.bytes(static_cast<size_t>(kernels->i16_attention_scratch(tokens, dim))));
    for (int i = 0; i < queries; ++i) {
      std::vector<double> weights;
      double total = 0;
      for (int t = 0; t < tokens; ++t) {
        double score = 0;
        for (int d = 0; d < dim; ++d)
          score += static_cast<double>(q[static_cast<size_t>(i * dim + d)]) * k[static_cast<size_t>(t * dim + d)];
        weights.push_back(std::exp(0.2 * score));
        total += weights.back();
      }
      for (int d = 0; d < dim; ++d) {
        double sum = 0;
        for (int t = 0; t < tokens; ++t) sum += weights[static_cast<size_t>(t)] * v[static_cast<size_t>(t * dim + d)];
        EXPECT_NEAR(y[static_cast<size_t>(i * dim + d)], sum / total, 1e-3);
      }
    }
  }
}

mx::array random(mx::Shape shape, uint64_t seed) { return mx::random::normal(std::move(shape), mx::random::key(seed)); }

float difference(const mx::array& a, const mx::array& b) { return mx::max(mx::abs(mx::subtract(a, b))).item<float>(); }

TEST(HeadAttention, IsTheSameForEveryPhaseWithinItsRounding) {
  const mx::array q = random({2, 70, 64}, 1), k = random({2, 90, 64}, 2), v = random({2, 90, 64}, 3);
  const auto in = [&](Phase phase) {
    const PhaseScope scope(phase);
    mx::array out = cpu_head_attention(q, k, v, 4, 0.25F);
    out.eval();
    return out;
  };
  const mx::array exact = in(Phase::prefill);
  EXPECT_LT(difference(in(Phase::decode), exact), 1e-5F);
  EXPECT_LT(difference(in(Phase::encode), exact), 2e-3F);
}

TEST(CrossAttention, EachRowSeesItsOwnKeys) {
  const mx::array q = random({3, 2, 64}, 1);
  std::vector<mx::array> keys, values, rows;
  for (uint64_t i = 0; i < 2; ++i) {
    const int tokens = 40 + 10 * static_cast<int>(i);
    const mx::array k = random({1, tokens, 64}, 10 + i), v = random({1, tokens, 64}, 20 + i);
    keys.push_back(cpu_by_heads(k, 4, mx::float32));
    values.push_back(cpu_by_heads(v, 4, mx::float32));
    rows.push_back(
        cpu_head_attention(q, mx::broadcast_to(k, {3, tokens, 64}), mx::broadcast_to(v, {3, tokens, 64}), 4, 0.25F));
  }
  const mx::array got = cpu_cross_attention(q, keys, values, {1, 0, 1}, 0.25F);
  for (int row = 0; row < 3; ++row) {
    const auto part = [&](const mx::array& x) { return mx::slice(x, {row, 0, 0}, {row + 1, 2, 64}); };
    EXPECT_LT(difference(part(got), part(rows[row == 1 ? 0 : 1])), 1e-5F) << row;
  }
  // In half precision the keys take half as long to read.
  for (auto* side : {&keys, &values}) {
    for (auto& a : *side) a = mx::astype(a, mx::float16);
  }
  EXPECT_LT(difference(cpu_cross_attention(q, keys, values, {1, 0, 1}, 0.25F), got), 2e-3F);
}

TEST(CrossScores, AreTheProductsOfOneHead) {
  const mx::array q = random({1, 5, 64}, 1), k = cpu_by_heads(random({1, 50, 64}, 2), 4, mx::float32);
  const mx::array own = mx::slice(q, {0, 0, 32}, {1, 5, 48});
  const mx::array head = mx::reshape(mx::slice(k, {0, 2, 0, 0}, {1, 3, 50, 16}), {50, 16});
  const mx::array wanted = mx::multiply(mx::matmul(mx::squeeze(own, 0), mx::transpose(head)), mx::array(0.5F));
  EXPECT_LT(difference(cpu_cross_scores(q, k, 2, 0.5F), wanted), 1e-5F);
}

}  // namespace
}  // namespace mlxk
