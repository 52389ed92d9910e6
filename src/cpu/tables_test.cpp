#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "cpu/features.h"
#include "cpu/matmul.h"
#include "cpu/testing/random_floats.h"

namespace mlxk {

extern const CpuKernels kernels_emulated_tiles;

namespace {

constexpr double kBound = 1e-4;  // of a row's largest value

/// A packed matrix of random values and its exact product.
struct AffineCase {
  AffineCase(int64_t rows, int64_t columns, int bits, int group) {
    std::mt19937 random(static_cast<unsigned>(rows * 31 + columns * 7 + bits));
    packed.resize(static_cast<size_t>(rows * columns * bits / 8));
    for (auto& byte : packed) byte = static_cast<uint8_t>(random());
    for (int64_t i = 0; i < rows * columns / group; ++i) {
      scales.push_back(0.01F * static_cast<float>(random() % 100 + 1));
      biases.push_back(-scales.back() * static_cast<float>(1 << (bits - 1)));
    }
    weight = {packed.data(), scales.data(), biases.data(), rows, columns, bits, group, kFloat32};
  }

  double value(int64_t row, int64_t k) const {
    const int64_t bit = (row * weight.columns + k) * weight.bits;
    uint32_t window = 0;
    for (int64_t i = 0; i < 3 && bit / 8 + i < static_cast<int64_t>(packed.size()); ++i) {
      window |= static_cast<uint32_t>(packed[static_cast<size_t>(bit / 8 + i)]) << (8 * i);
    }
    const auto q = static_cast<double>(window >> (bit % 8) & ((1U << weight.bits) - 1));
    const auto g = static_cast<size_t>((row * weight.columns + k) / weight.group);
    return q * scales[g] + biases[g];
  }

  std::vector<uint8_t> packed;
  std::vector<float> scales, biases;
  AffineWeight weight;
};

struct Quantized {
  Quantized(const CpuKernels& kernels, const float* x, int64_t n, int64_t columns, int group, int bits) {
    kernels.row_layout(columns, group, bits, &rows);
    q.assign(static_cast<size_t>(n * rows.stride), -7);  // leftovers must not count
    factors.assign(static_cast<size_t>(n * (rows.units + rows.groups)), NAN);
    rows.q = q.data();
    rows.scales = factors.data();
    rows.sums = factors.data() + n * rows.units;
    for (int64_t r = 0; r < n; ++r) kernels.quantize_row(x + r * columns, columns, group, bits, &rows, r);
  }
  std::vector<int16_t> q;
  std::vector<float> factors;
  QuantizedRows rows{};
};

/// y [n, rows] by the kernels of one phase.
std::vector<float> affine_product(const CpuKernels& kernels, const AffineWeight& w, const float* x, int64_t n,
                                  Phase phase) {
  std::vector<float> y(static_cast<size_t>(n * w.rows), NAN);
  const bool decode = phase == Phase::decode;
  Quantized quantized(kernels, x, n, w.columns, w.group, decode ? w.bits : 0);
  if (decode) {
    kernels.affine_rows(&w, &quantized.rows, n, 0, w.rows, y.data(), w.rows);
  } else {
    Scratch scratch;
    kernels.affine_panels(&w, &quantized.rows, n, 0, (w.rows + kernels.lanes - 1) / kernels.lanes, y.data(), w.rows,
                          scratch.bytes(static_cast<size_t>(kernels.affine_scratch(w.columns, w.group))), nullptr);
  }
  return y;
}

class EveryTable : public testing::TestWithParam<const CpuKernels*> {};

TEST_P(EveryTable, MultipliesPackedWeightsOfEveryWidthAndGroup) {
  const CpuKernels& kernels = *GetParam();
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {16, 32, 64, 128}) {
      for (const int64_t columns : {int64_t{1} * group, int64_t{3} * group, int64_t{1152}, int64_t{2304}}) {
        const AffineCase c(37, columns, bits, group);
        const int64_t n = 9;
        const auto x = random_floats(n * columns, 5);
        for (const Phase phase : {Phase::decode, Phase::prefill}) {
          const auto y = affine_product(kernels, c.weight, x.data(), n, phase);
          for (int64_t r = 0; r < n; ++r) {
            double worst = 0, largest = 0;
            for (int64_t i = 0; i < c.weight.rows; ++i) {
              double exact = 0;
              for (int64_t k = 0; k < columns; ++k) exact += x[static_cast<size_t>(r * columns + k)] * c.value(i, k);
              const double error = std::abs(exact - y[static_cast<size_t>(r * c.weight.rows + i)]);
              worst = std::isnan(error) ? INFINITY : std::max(worst, error);
              largest = std::max(largest, std::abs(exact));
            }
            ASSERT_LE(worst, kBound * largest)
                << bits << " bits, group " << group << ", " << columns << " columns, row " << r;
          }
        }
      }
    }
  }
}

TEST_P(EveryTable, GivesARowTheSameBitsWhateverIsComputedWithIt) {
  const CpuKernels& kernels = *GetParam();
  const auto x = random_floats(512 * 608, 6);
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {16, 32, 64, 128}) {
      const int64_t columns = 608 / group * group;
      const AffineCase c(70, columns, bits, group);
      for (const Phase phase : {Phase::decode, Phase::prefill}) {
        std::vector<std::vector<float>> alone;
        for (int64_t r = 0; r < 33; ++r)
          alone.push_back(affine_product(kernels, c.weight, x.data() + r * columns, 1, phase));
        for (const int64_t n : {2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17, 31, 32, 33, 512}) {
          const auto together = affine_product(kernels, c.weight, x.data(), n, phase);
          for (int64_t r = 0; r < std::min<int64_t>(n, 33); ++r) {
            ASSERT_EQ(std::memcmp(alone[static_cast<size_t>(r)].data(), together.data() + r * 70, 70 * sizeof(float)),
                      0)
                << bits << " bits, group " << group << ", row " << r << " of " << n;
          }
        }
      }
    }
  }
}

TEST_P(EveryTable, KeptPanelsGiveTheBitsOfThoseUnpackedEachTime) {
  const CpuKernels& kernels = *GetParam();
  const int64_t rows = 149, n = 19, panels = (rows + kernels.lanes - 1) / kernels.lanes, middle = 64 / kernels.lanes;
  for (const int64_t columns : {int64_t{192}, int64_t{2304}}) {
    const auto x = random_floats(n * columns, 7), floats = random_floats(rows * columns, 8);
    std::vector<float> fresh(static_cast<size_t>(n * rows)), kept = fresh;
    Scratch scratch, memory;
    for (const int bits : {3, 4, 8}) {
      const AffineCase c(rows, columns, bits, 64);
      Quantized quantized(kernels, x.data(), n, columns, 64, 0);
      void* room = scratch.bytes(static_cast<size_t>(kernels.affine_scratch(columns, 64)));
      void* all = memory.bytes(static_cast<size_t>(kernels.affine_kept_bytes(rows, columns, 64)));
      kernels.affine_keep(&c.weight, 0, middle, all, room);
      kernels.affine_keep(&c.weight, middle, panels, all, room);
      kernels.affine_panels(&c.weight, &quantized.rows, n, 0, panels, fresh.data(), rows, room, nullptr);
      kernels.affine_panels(&c.weight, &quantized.rows, n, 0, middle, kept.data(), rows, room, all);
      kernels.affine_panels(&c.weight, &quantized.rows, n, middle, panels, kept.data(), rows, room, all);
      EXPECT_EQ(fresh, kept) << bits << " bits, " << columns << " columns";
    }
    const FloatWeight weight{floats.data(), rows, columns, columns, kFloat32};
    I16Rows shorts;
    kernels.i16_layout(columns, &shorts);
    std::vector<int16_t> q(static_cast<size_t>(n * shorts.stride));
    std::vector<float> scales(static_cast<size_t>(n * shorts.units));
    shorts.q = q.data();
    shorts.scales = scales.data();
    for (int64_t r = 0; r < n; ++r) kernels.i16_row(x.data() + r * columns, columns, &shorts, r);
    void* room = scratch.bytes(static_cast<size_t>(kernels.i16_scratch(columns)));
    void* all = memory.bytes(static_cast<size_t>(kernels.i16_kept_bytes(rows, columns)));
    kernels.i16_keep(&weight, 0, middle, all);
    kernels.i16_keep(&weight, middle, panels, all);
    kernels.i16_panels(&weight, nullptr, &shorts, n, 0, panels, fresh.data(), rows, room, nullptr);
    kernels.i16_panels(&weight, nullptr, &shorts, n, 0, panels, kept.data(), rows, nullptr, all);
    EXPECT_EQ(fresh, kept) << "floats, " << columns << " columns";
  }
}

/// y [n, rows] of weights of 8 bits and activations as bytes, in two calls; `kept`: from panels that were kept.
std::vector<float> byte_product(const CpuKernels& kernels, const AffineWeight& w, const float* x, int64_t n,
                                bool kept) {
  Quantized quantized(kernels, x, n, w.columns, w.group, kBytes);
  std::vector<float> y(static_cast<size_t>(n * w.rows), NAN);
  const int64_t panels = (w.rows + kernels.lanes - 1) / kernels.lanes, middle = panels / 4 * 2;
  Scratch scratch, memory;
  void* room = scratch.bytes(static_cast<size_t>(kernels.affine_scratch(w.columns, w.group)));
  void* all = memory.bytes(static_cast<size_t>(kernels.byte_kept_bytes(w.rows, w.columns, w.group)));
  kernels.byte_keep(&w, 0, panels, all, room);
  for (const auto& [begin, end] : {std::pair{int64_t{0}, middle}, {middle, panels}})
    kernels.byte_panels(&w, &quantized.rows, n, begin, end, y.data(), w.rows, kept ? nullptr : room,
                        kept ? all : nullptr);
  return y;
}

/// The same number by number.
float byte_product_of(const AffineCase& c, const float* x, int64_t row) {
  const AffineWeight& w = c.weight;
  const int unit = 32;
  float acc = 0;
  for (int64_t g = 0; g < w.columns / w.group; ++g) {
    const auto at = static_cast<size_t>(row * (w.columns / w.group) + g);
    float sums = 0;
    for (int64_t k = g * w.group; k < (g + 1) * w.group; k += unit) {
      float most = 1e-33F;
      for (int64_t i = k; i < k + unit; ++i) most = std::max(most, std::abs(x[i]));
      const float scale = most * (1.0F / 127.0F), inverse = 127.0F / most;
      int32_t products = 0, whole = 0;
      for (int64_t i = k; i < k + unit; ++i) {
        const auto q = static_cast<int32_t>(std::nearbyint(x[i] * inverse));
        products += q * c.packed[static_cast<size_t>(row * w.columns + i)];
        whole += q;
      }
      acc = std::fma(static_cast<float>(products), c.scales[at] * scale, acc);
      sums += scale * static_cast<float>(whole);
    }
    acc = std::fma(c.biases[at], sums, acc);
  }
  return acc;
}

TEST_P(EveryTable, MultipliesBytesAsTheFormulaSays) {
  const CpuKernels& kernels = *GetParam();
  if (!kernels.byte_panels) GTEST_SKIP() << "no instruction multiplies bytes";
  for (const int group : {32, 64, 128}) {
    for (const int64_t columns : {int64_t{1} * group, int64_t{384}, int64_t{1536}}) {
      AffineCase c(70, columns, 8, group);
      std::fill_n(c.packed.begin(), columns, uint8_t{255});  // the largest sums
      auto x = random_floats(13 * columns, 5);
      std::fill_n(x.begin(), columns, 3.0F);
      std::fill_n(x.begin() + columns, group, 0.0F);
      const auto fresh = byte_product(kernels, c.weight, x.data(), 13, false);
      EXPECT_EQ(fresh, byte_product(kernels, c.weight, x.data(), 13, true));
      for (int64_t r = 0; r < 13; ++r) {
        const auto alone = byte_product(kernels, c.weight, x.data() + r * columns, 1, true);
        std::vector<float> formula;
        for (int64_t i = 0; i < 70; ++i) formula.push_back(byte_product_of(c, x.data() + r * columns, i));
        const double largest = std::abs(*std::max_element(formula.begin(), formula.end(),
                                                          [](float a, float b) { return std::abs(a) < std::abs(b); }));
        for (size_t i = 0; i < 70; ++i) {
          const float y = fresh[static_cast<size_t>(r * 70) + i];
          ASSERT_EQ(y, alone[i]) << group << ", row " << r << ", weights " << i;
          if (kernels.lanes > 4) {
            ASSERT_EQ(y, formula[i]) << group << ", row " << r << ", weights " << i;
          } else {  // signed weights, with another offset
            ASSERT_NEAR(y, formula[i], kBound * largest) << group << ", row " << r << ", weights " << i;
          }
        }
      }
    }
  }
  auto x = random_floats(64, 3);
  x[40] = NAN;
  EXPECT_TRUE(std::isnan(byte_product(kernels, AffineCase(5, 64, 8, 32).weight, x.data(), 1, true)[0]));
}

/// Two panels a piece, which is how the threads share them out.
TEST_P(EveryTable, GivesPiecesOfAMatrixTheBitsOfTheWhole) {
  const CpuKernels& kernels = *GetParam();
  const int64_t rows = 149, columns = 192, n = 19, panels = (rows + kernels.lanes - 1) / kernels.lanes;
  const auto x = random_floats(n * columns, 7), floats = random_floats(rows * columns, 8);
  const AffineCase c(rows, columns, 4, 32);
  const FloatWeight weight{floats.data(), rows, columns, columns, kFloat32};
  Quantized quantized(kernels, x.data(), n, columns, 32, 0);
  Scratch scratch;
  const auto bytes = std::max(kernels.affine_scratch(columns, 32), kernels.float_scratch(columns));
  void* room = scratch.bytes(static_cast<size_t>(bytes));
  for (const int64_t piece : {2, 4}) {
    std::vector<float> whole(static_cast<size_t>(n * rows), NAN), pieces = whole, float_whole = whole,
                                                                  float_pieces = whole;
    kernels.affine_panels(&c.weight, &quantized.rows, n, 0, panels, whole.data(), rows, room, nullptr);
    kernels.float_panels(&weight, x.data(), n, 0, panels, float_whole.data(), rows, room);
    for (int64_t first = 0; first < panels; first += piece) {
      const int64_t last = std::min(first + piece, panels);
      kernels.affine_panels(&c.weight, &quantized.rows, n, first, last, pieces.data(), rows, room, nullptr);
      kernels.float_panels(&weight, x.data(), n, first, last, float_pieces.data(), rows, room);
    }
    EXPECT_EQ(std::memcmp(whole.data(), pieces.data(), whole.size() * sizeof(float)), 0) << piece;
    EXPECT_EQ(std::memcmp(float_whole.data(), float_pieces.data(), whole.size() * sizeof(float)), 0) << piece;
  }
}

TEST_P(EveryTable, GivesARowOfFloatsTheSameBitsWhateverIsComputedWithIt) {
  const CpuKernels& kernels = *GetParam();
  const int64_t rows = 37, columns = 77;
  const auto w = random_floats(rows * columns, 1), x = random_floats(33 * columns, 2);
  const FloatWeight weight{w.data(), rows, columns, columns, kFloat32};
  Scratch scratch;
  void* room = scratch.bytes(static_cast<size_t>(kernels.float_scratch(columns)));
  const auto product = [&](const float* from, int64_t n) {
    std::vector<float> y(static_cast<size_t>(n * rows), NAN);
    kernels.float_panels(&weight, from, n, 0, (rows + kernels.lanes - 1) / kernels.lanes, y.data(), rows, room);
    return y;
  };
  for (const int64_t n : {2, 3, 5, 6, 12, 13, 33}) {
    const auto together = product(x.data(), n);
    for (int64_t r = 0; r < n; ++r) {
      ASSERT_EQ(
          std::memcmp(product(x.data() + r * columns, 1).data(), together.data() + r * rows, rows * sizeof(float)), 0)
          << "row " << r << " of " << n;
    }
  }
}

TEST_P(EveryTable, GivesAWeightRowTheSameBitsWhereverAPieceBegins) {
  const CpuKernels& kernels = *GetParam();
  constexpr int64_t kRows = 70, kColumns = 352, kN = 5;
  const auto x = random_floats(kN * kColumns, 6), floats = random_floats(kRows * kColumns, 7);
  const FloatWeight plain{floats.data(), kRows, kColumns, kColumns, kFloat32};
  for (const int bits : {0, 2, 3, 4, 5, 6, 8}) {
    const AffineCase c(kRows, kColumns, bits == 0 ? 8 : bits, 32);
    Quantized quantized(kernels, x.data(), kN, kColumns, 32, c.weight.bits);
    std::vector<float> whole(kN * kRows, NAN), pieces = whole;
    const auto multiply = [&](int64_t begin, int64_t end, std::vector<float>& y) {
      if (bits == 0) return kernels.float_rows(&plain, x.data(), kN, begin, end, y.data(), kRows);
      kernels.affine_rows(&c.weight, &quantized.rows, kN, begin, end, y.data(), kRows);
    };
    multiply(0, kRows, whole);
    for (const auto& [begin, end] : {std::pair{0, 1}, {1, 1}, {1, 14}, {14, 47}, {47, 70}})
      multiply(begin, end, pieces);
    EXPECT_EQ(std::memcmp(whole.data(), pieces.data(), whole.size() * sizeof(float)), 0) << bits << " bits";
  }
}

TEST_P(EveryTable, MultipliesFloatWeights) {
  const CpuKernels& kernels = *GetParam();
  const int64_t columns = 77, rows = 37, n = 15;
  const auto w = random_floats(rows * columns, 1), x = random_floats(n * columns, 2);
  const FloatWeight weight{w.data(), rows, columns, columns, kFloat32};
  std::vector<float> decoded(static_cast<size_t>(n * rows), NAN), prefilled = decoded;
  kernels.float_rows(&weight, x.data(), n, 0, rows, decoded.data(), rows);
  Scratch scratch;
  kernels.float_panels(&weight, x.data(), n, 0, (rows + kernels.lanes - 1) / kernels.lanes, prefilled.data(), rows,
                       scratch.bytes(static_cast<size_t>(kernels.float_scratch(columns))));
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t i = 0; i < rows; ++i) {
      double exact = 0;
      for (int64_t k = 0; k < columns; ++k)
        exact += double{x[static_cast<size_t>(r * columns + k)]} * w[static_cast<size_t>(i * columns + k)];
      EXPECT_NEAR(decoded[static_cast<size_t>(r * rows + i)], exact, 1e-4);
      EXPECT_NEAR(prefilled[static_cast<size_t>(r * rows + i)], exact, 1e-4);
    }
  }
}

TEST_P(EveryTable, ReadsHalfAndBrainFloats) {
  const CpuKernels& kernels = *GetParam();
  // 1.5, -2, the smallest subnormal half and 0; then as bfloat16 1.5, -2, 1e-30 or so and 0.
  const uint16_t halves[] = {0x3e00, 0xc000, 0x0001, 0x0000}, brains[] = {0x3fc0, 0xc000, 0x0da2, 0x0000};
  const float x[] = {1, 10, 0x1p24F, 5};
  float y = 0;
  const FloatWeight half{halves, 1, 4, 4, kFloat16}, brain{brains, 1, 4, 4, kBFloat16};
  kernels.float_rows(&half, x, 1, 0, 1, &y, 1);
  EXPECT_FLOAT_EQ(y, 1.5F - 20 + 1);
  kernels.float_rows(&brain, x, 1, 0, 1, &y, 1);
  EXPECT_FLOAT_EQ(y, 1.5F - 20);
}

TEST_P(EveryTable, LetsNanThrough) {
  const CpuKernels& kernels = *GetParam();
  const AffineCase c(5, 64, 4, 32);
  auto x = random_floats(64, 3);
  x[40] = NAN;
  for (const Phase phase : {Phase::decode, Phase::prefill}) {
    EXPECT_TRUE(std::isnan(affine_product(kernels, c.weight, x.data(), 1, phase)[0]));
  }
  std::vector<float> scores{1, NAN, 2};
  kernels.softmax(scores.data(), 3);
  EXPECT_TRUE(std::isnan(scores[0]));
}

TEST_P(EveryTable, ActivatesAsTheFormulasSay) {
  const CpuKernels& kernels = *GetParam();
  std::vector<float> gate, up(101, 1), y(101);
  for (int i = 0; i < 101; ++i) gate.push_back(static_cast<float>(i - 50) * 0.3F);
  const auto expect = [&](int activation, auto formula) {
    kernels.gated(gate.data(), up.data(), 101, activation, y.data());
    for (size_t i = 0; i < 101; ++i)
      EXPECT_NEAR(y[i], formula(double{gate[i]}), 2e-6) << activation << " of " << gate[i];
  };
  expect(0, [](double x) { return x / (1 + std::exp(-x)); });
  expect(1, [](double x) { return x / 2 * (1 + std::erf(x / std::sqrt(2))); });
  expect(2, [](double x) { return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); });
}

TEST_P(EveryTable, SoftmaxGivesNothingToWhatIsMasked) {
  std::vector<float> scores;
  for (int i = 0; i < 37; ++i) scores.push_back(i % 5 == 0 ? -1e30F : 0.1F * static_cast<float>(i));
  GetParam()->softmax(scores.data(), 37);
  double sum = 0;
  for (size_t i = 0; i < 37; ++i) {
    sum += scores[i];
    if (i % 5 == 0) {
      EXPECT_EQ(scores[i], 0);
    }
  }
  EXPECT_NEAR(sum, 1, 1e-6);
  EXPECT_NEAR(scores[36] / scores[34], std::exp(0.2), 1e-5);
}

std::vector<const CpuKernels*> every_table() {
  auto tables = available_kernels();
  tables.push_back(&kernels_emulated_tiles);
  return tables;
}

INSTANTIATE_TEST_SUITE_P(Cpu, EveryTable, testing::ValuesIn(every_table()),
                         [](const auto& info) { return std::string(info.param->name); });

}  // namespace
}  // namespace mlxk
