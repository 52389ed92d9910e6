// The small kernels of every instruction set: the parts of attention, norms, rotations, rows of tables.
#include <gtest/gtest.h>

#include <cmath>

#include "cpu/features.h"
#include "cpu/scratch.h"
#include "cpu/testing/random_floats.h"

namespace mlxk {
namespace {

class EverySmallKernel : public testing::TestWithParam<const CpuKernels*> {};

TEST_P(EverySmallKernel, ScoresKeysInBothPhases) {
  const CpuKernels& kernels = *GetParam();
  for (const int64_t dim : {1, 20, 64, 129}) {
    for (const int64_t tokens : {1, 5, 16, 37}) {
      const int64_t n = 14, stride = 96;
      const auto k = random_floats(tokens * (dim + 3), 1), q = random_floats(n * dim, 2);
      const HeadSpan span{k.data(), dim + 3, tokens, kFloat32};
      std::vector<float> rows(static_cast<size_t>(n * stride), NAN), panels = rows;
      kernels.key_rows(&span, dim, q.data(), n, rows.data(), stride);
      Scratch scratch;
      kernels.key_panels(&span, dim, q.data(), n, panels.data(), stride,
                         scratch.bytes(static_cast<size_t>(kernels.key_scratch(dim))));
      for (int64_t r = 0; r < n; ++r) {
        for (int64_t t = 0; t < tokens; ++t) {
          double exact = 0;
          for (int64_t d = 0; d < dim; ++d)
            exact += double{k[static_cast<size_t>(t * (dim + 3) + d)]} * q[static_cast<size_t>(r * dim + d)];
          ASSERT_NEAR(rows[static_cast<size_t>(r * stride + t)], exact, 2e-5) << dim << " by " << tokens;
          ASSERT_NEAR(panels[static_cast<size_t>(r * stride + t)], exact, 2e-5) << dim << " by " << tokens;
        }
      }
    }
  }
}

TEST_P(EverySmallKernel, SumsValuesTheSameForFewAndForMany) {
  const CpuKernels& kernels = *GetParam();
  for (const int64_t dim : {1, 20, 64, 129}) {
    const int64_t tokens = 33, n = 29;
    const auto v = random_floats(tokens * dim, 1), p = random_floats(n * tokens, 2);
    const HeadSpan span{v.data(), dim, tokens, kFloat32};
    std::vector<float> y(static_cast<size_t>(n * dim), NAN), alone(static_cast<size_t>(dim), NAN);
    kernels.value_rows(&span, dim, p.data(), tokens, n, y.data(), dim);
    for (int64_t r = 0; r < n; ++r) {
      kernels.value_rows(&span, dim, p.data() + r * tokens, tokens, 1, alone.data(), dim);
      for (int64_t d = 0; d < dim; ++d) {
        double exact = 0;
        for (int64_t t = 0; t < tokens; ++t)
          exact += double{p[static_cast<size_t>(r * tokens + t)]} * v[static_cast<size_t>(t * dim + d)];
        ASSERT_NEAR(y[static_cast<size_t>(r * dim + d)], exact, 2e-5);
        ASSERT_EQ(y[static_cast<size_t>(r * dim + d)], alone[static_cast<size_t>(d)]);
      }
    }
  }
}

TEST_P(EverySmallKernel, JoinsPartsToWhatTheWholeIs) {
  const CpuKernels& kernels = *GetParam();
  auto scores = random_floats(128, 1);
  const auto values = random_floats(128, 2);
  double sum = 0, mean = 0;
  for (size_t i = 0; i < 128; ++i) sum += std::exp(double{scores[i]});
  for (size_t i = 0; i < 128; ++i) mean += std::exp(double{scores[i]}) * values[i] / sum;
  float most = kNothingSeen, all = 0, value = 0;
  for (size_t i = 0; i < 128; i += 32) {
    float part_most = 0, part_sum = 0, part = 0;
    kernels.score_weights(&scores[i], 32, &part_most, &part_sum);
    for (size_t j = i; j < i + 32; ++j) part += scores[j] * values[j];
    kernels.join_parts(&most, &all, &value, part_most, part_sum, &part, 1);
  }
  EXPECT_NEAR(value / all, mean, 1e-6);
  std::vector<float> hidden(32, kMasked);
  float part_most = 0, part_sum = 1;
  kernels.score_weights(hidden.data(), 32, &part_most, &part_sum);
  EXPECT_EQ(part_sum, 0);
  const float before = value;
  kernels.join_parts(&most, &all, &value, part_most, part_sum, hidden.data(), 1);
  EXPECT_EQ(value, before);
}

TEST_P(EverySmallKernel, CapsScoresSoftly) {
  auto s = random_floats(64, 3);
  const auto before = s;
  GetParam()->soft_cap(s.data(), 64, 0.7F);
  for (size_t i = 0; i < 64; ++i) EXPECT_NEAR(s[i], 0.7 * std::tanh(before[i] / 0.7), 1e-6);
}

TEST_P(EverySmallKernel, NormsByMeanAndVariance) {
  for (const int64_t columns : {1, 3, 16, 100}) {
    const auto x = random_floats(columns, 1), w = random_floats(columns, 2), b = random_floats(columns, 3);
    std::vector<float> y(x.size()), plain(x.size());
    GetParam()->layer_norm(x.data(), w.data(), b.data(), 1e-5F, columns, y.data());
    GetParam()->layer_norm(x.data(), nullptr, nullptr, 1e-5F, columns, plain.data());
    double mean = 0, variance = 0;
    for (const float v : x) mean += v / static_cast<double>(columns);
    for (const float v : x) variance += (v - mean) * (v - mean) / static_cast<double>(columns);
    for (size_t i = 0; i < x.size(); ++i) {
      const double normed = (x[i] - mean) / std::sqrt(variance + 1e-5);
      EXPECT_NEAR(y[i], normed * w[i] + b[i], 1e-5);
      EXPECT_NEAR(plain[i], normed, 1e-5);
    }
  }
}

TEST_P(EverySmallKernel, RotatesHalvesAndNeighbours) {
  for (const int64_t pairs : {1, 4, 13, 32}) {
    for (const bool traditional : {false, true}) {
      const auto x = random_floats(2 * pairs + 5, 1), angles = random_floats(pairs, 2);
      std::vector<float> cosines(static_cast<size_t>(2 * pairs)), sines = cosines, y = x;
      const auto first = [&](int64_t i) { return static_cast<size_t>(traditional ? 2 * i : i); };
      const auto second = [&](int64_t i) { return static_cast<size_t>(traditional ? 2 * i + 1 : i + pairs); };
      for (int64_t i = 0; i < pairs; ++i) {
        cosines[first(i)] = cosines[second(i)] = std::cos(angles[static_cast<size_t>(i)]);
        sines[second(i)] = std::sin(angles[static_cast<size_t>(i)]);
        sines[first(i)] = -sines[second(i)];
      }
      GetParam()->rotate(y.data(), cosines.data(), sines.data(), pairs, traditional);
      for (int64_t i = 0; i < pairs; ++i) {
        const double c = std::cos(double{angles[static_cast<size_t>(i)]}),
                     s = std::sin(double{angles[static_cast<size_t>(i)]});
        EXPECT_NEAR(y[first(i)], x[first(i)] * c - x[second(i)] * s, 1e-6);
        EXPECT_NEAR(y[second(i)], x[first(i)] * s + x[second(i)] * c, 1e-6);
      }
      for (auto i = static_cast<size_t>(2 * pairs); i < x.size(); ++i) EXPECT_EQ(y[i], x[i]);
    }
  }
}

TEST_P(EverySmallKernel, PacksFloatsToTheNearest) {
  const CpuKernels& kernels = *GetParam();
  auto x = random_floats(77, 1);
  for (size_t i = 0; i < 20; ++i) x[i] *= std::ldexp(1.0F, -static_cast<int>(i) - 6);
  x[20] = 65504;
  x[21] = -0.0F;
  x[22] = 65519.9F;
  x[23] = 70000;
  x[24] = NAN;
  x[25] = -INFINITY;
  std::vector<uint16_t> packed(x.size());
  std::vector<float> back(x.size());
  for (const FloatType type : {kFloat16, kBFloat16}) {
    kernels.pack_floats(x.data(), 77, type, packed.data());
    kernels.unpack_floats(packed.data(), 0, 77, type, back.data());
    for (size_t i = 0; i < x.size(); ++i) {
      if (i == 24) {
        EXPECT_TRUE(std::isnan(back[i]));
      } else if (std::isinf(x[i])) {
        EXPECT_EQ(back[i], x[i]);
      } else if (type == kFloat16 && i == 23) {
        EXPECT_EQ(back[i], INFINITY);
      } else {
        const float step =
            type == kFloat16 ? std::max(std::ldexp(std::abs(x[i]), -11), 0x1p-25F) : std::ldexp(std::abs(x[i]), -8);
        EXPECT_LE(std::abs(back[i] - x[i]), step) << x[i];
      }
    }
  }
  EXPECT_EQ(back[20], 65536);  // the nearest bfloat16
}

INSTANTIATE_TEST_SUITE_P(Cpu, EverySmallKernel, testing::ValuesIn(available_kernels()),
                         [](const auto& info) { return std::string(info.param->name); });

}  // namespace
}  // namespace mlxk
