#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cpu/features.h"

namespace mlxk {
namespace {

const float kNan = std::numeric_limits<float>::quiet_NaN();
const float kInfinity = std::numeric_limits<float>::infinity();

class SamplingKernels : public testing::TestWithParam<const CpuKernels*> {};

std::vector<float> random_row(size_t n) {
  std::mt19937 random(static_cast<unsigned>(n));
  std::normal_distribution<float> normal(-20, 5);
  std::vector<float> row(n);
  for (float& x : row) x = normal(random);
  return row;
}

TEST_P(SamplingKernels, FindTheLargestAndEveryNan) {
  for (const size_t n : {1, 3, 16, 31, 32, 50}) {
    for (size_t place = 0; place < n; ++place) {
      std::vector<float> row = random_row(n);
      row[(place + 1) % n] = -kInfinity;
      row[place] = 5;
      EXPECT_EQ(GetParam()->row_largest(row.data(), static_cast<int64_t>(n)), 5) << place << " of " << n;
      row[place] = kInfinity;
      EXPECT_EQ(GetParam()->row_largest(row.data(), static_cast<int64_t>(n)), kInfinity) << place << " of " << n;
      row[place] = kNan;
      EXPECT_TRUE(std::isnan(GetParam()->row_largest(row.data(), static_cast<int64_t>(n)))) << place << " of " << n;
    }
    const std::vector<float> nothing(n, -kInfinity);
    EXPECT_EQ(GetParam()->row_largest(nothing.data(), static_cast<int64_t>(n)), -kInfinity);
  }
}

TEST_P(SamplingKernels, WeighByTheDistanceFromTheLargest) {
  for (const size_t n : {1, 4, 17, 50}) {
    std::vector<float> row = random_row(n), weights(n);
    if (n > 1) row[1] = -kInfinity;
    double want = 0;
    const float sum = GetParam()->row_weights(row.data(), static_cast<int64_t>(n), -3, 0.5F, weights.data());
    for (size_t i = 0; i < n; ++i) {
      const double weight = std::exp((row[i] + 3) * 0.5);
      EXPECT_NEAR(weights[i], weight, 1e-6 * weight);
      want += weight;
    }
    EXPECT_NEAR(sum, want, 1e-6 * want);
    EXPECT_EQ(GetParam()->row_weights(row.data(), 1, row[0], 1e30F, weights.data()), 1);
    row[n - 1] = kNan;
    EXPECT_TRUE(std::isnan(GetParam()->row_weights(row.data(), static_cast<int64_t>(n), 9, 1, weights.data())));
    row[n - 1] = kInfinity;
    EXPECT_TRUE(std::isnan(GetParam()->row_weights(row.data(), static_cast<int64_t>(n), kInfinity, 1, weights.data())));
  }
}

TEST_P(SamplingKernels, SumWhatIsAtLeastAThreshold) {
  for (const size_t n : {1, 4, 17, 50}) {
    std::vector<float> row = random_row(n), weights(n), thresholds(kThresholds), masses(kThresholds);
    row[n / 2] = -kInfinity;
    for (size_t i = 0; i < n; ++i) weights[i] = static_cast<float>(i + 1);
    for (size_t j = 0; j < kThresholds; ++j) thresholds[j] = row[j * (n - 1) / kThresholds];
    thresholds[0] = -1e30F;
    if (n == 1) thresholds.assign(kThresholds, 0);
    for (size_t j = 1; j < kThresholds; ++j) {
      if (std::isinf(thresholds[j])) thresholds[j] = 0;
    }
    for (const bool counting : {false, true}) {
      const float* weight = counting ? nullptr : weights.data();
      GetParam()->row_masses(row.data(), weight, static_cast<int64_t>(n), thresholds.data(), masses.data());
      for (size_t j = 0; j < kThresholds; ++j) {
        float want = 0;
        for (size_t i = 0; i < n; ++i) want += row[i] >= thresholds[j] ? counting ? 1 : weights[i] : 0;
        EXPECT_EQ(masses[j], want) << thresholds[j];
      }
    }
  }
}

TEST_P(SamplingKernels, SelectWhatIsInARange) {
  for (const size_t n : {1, 4, 17, 50, 200}) {
    std::vector<float> row = random_row(n), want, values(n);
    row[n / 2] = -kInfinity;
    const float low = -22, high = -15;
    std::vector<int32_t> beside(n), want_indices, want_beside, others(n);
    for (size_t i = 0; i < n; ++i) {
      beside[i] = static_cast<int32_t>(1000 - i);
      if (!(row[i] >= low && row[i] < high)) continue;
      want.push_back(row[i]);
      want_indices.push_back(static_cast<int32_t>(i));
      want_beside.push_back(beside[i]);
    }
    const auto length = static_cast<int64_t>(n);
    const auto first = [](auto all, int64_t count) {
      all.resize(static_cast<size_t>(count));
      return all;
    };
    int64_t count = GetParam()->row_select(row.data(), nullptr, length, low, high, values.data(), others.data());
    EXPECT_EQ(first(values, count), want);
    EXPECT_EQ(first(others, count), want_indices);
    count = GetParam()->row_select(row.data(), beside.data(), length, low, high, row.data(), beside.data());
    EXPECT_EQ(first(row, count), want);
    EXPECT_EQ(first(beside, count), want_beside);
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, SamplingKernels, testing::ValuesIn(available_kernels()),
                         [](const auto& info) { return std::string(info.param->name); });

}  // namespace
}  // namespace mlxk
