#include "cpu/scan.h"

#include <gtest/gtest.h>

#include <cmath>

#include "cpu/features.h"
#include "cpu/testing/random_floats.h"

namespace mlxk {
namespace {

/// Small numbers, so that sums of many stay small.
std::vector<float> small(int64_t count, unsigned seed) {
  std::vector<float> values = random_floats(count, seed);
  for (auto& v : values) v *= 0.3F;
  return values;
}

class ScanHeads : public testing::TestWithParam<const CpuKernels*> {};

/// The inputs of a selective scan, with states per head or, by_state, per channel.
struct Selective {
  Selective(int64_t dim, int64_t states, int64_t length, bool by_state)
      : dim(dim),
        states(states),
        length(length),
        by_state(by_state),
        x(small(length * dim, 1)),
        b(small(length * states, 2)),
        c(small(length * states, 3)),
        dt(small(length * dim, 4)),
        a(small(states * dim, 5)),
        before(small(dim * states, 6)),
        h(before.size()),
        y(x.size()) {
    for (auto& v : a) v = -std::abs(v) - 0.1F;
    for (auto& v : dt) v = by_state ? 5 * v : std::abs(v);
  }
  /// Tokens [from, to), starting at `state`.
  void run(const CpuKernels& kernels, int64_t from, int64_t to, const float* state) {
    if (by_state) {
      const std::vector<float> skip(static_cast<size_t>(dim), 0.5F);
      const ScanChannels block{.x = x.data() + from * dim,
                               .dt = dt.data() + from * dim,
                               .b = b.data() + from * states,
                               .c = c.data() + from * states,
                               .a = a.data(),
                               .dt_bias = nullptr,
                               .skip = skip.data(),
                               .dt_min = 0.3F,
                               .dt_max = 1.5F,
                               .before = state,
                               .h = h.data(),
                               .y = y.data() + from * dim,
                               .stride = dim,
                               .x_stride = dim,
                               .dt_stride = dim,
                               .b_stride = states,
                               .c_stride = states,
                               .y_stride = dim,
                               .channels = dim,
                               .states = states,
                               .length = to - from};
      return kernels.scan_channels(&block);
    }
    const ScanHead head{.x = x.data() + from * dim,
                        .dt = dt.data() + from,
                        .b = b.data() + from * states,
                        .c = c.data() + from * states,
                        .a = a[0],
                        .skip = 0.5F,
                        .before = state,
                        .h = h.data(),
                        .y = y.data() + from * dim,
                        .x_stride = dim,
                        .b_stride = states,
                        .c_stride = states,
                        .y_stride = dim,
                        .dim = dim,
                        .states = states,
                        .length = to - from};
    kernels.scan_head(&head);
  }

  int64_t dim, states, length;
  bool by_state;
  std::vector<float> x, b, c, dt, a, before, h, y;
};

TEST_P(ScanHeads, SelectiveScanIsTheSumsByHand) {
  for (const bool by_state : {false, true}) {
    Selective s(by_state ? 37 : 7, 19, 6, by_state);
    s.run(*GetParam(), 0, s.length, s.before.data());
    std::vector<double> exact(s.before.begin(), s.before.end());
    for (int64_t t = 0; t < s.length; ++t) {
      for (int64_t d = 0; d < s.dim; ++d) {
        const double free = by_state ? std::log1p(std::exp(double{s.dt[t * s.dim + d]})) : 0;
        const double dt = by_state ? std::min(std::max(free, 0.3), 1.5) : s.dt[t], x = s.x[t * s.dim + d];
        double sum = 0.5 * x;
        for (int64_t n = 0; n < s.states; ++n) {
          double& state = exact[by_state ? n * s.dim + d : d * s.states + n];
          state = std::exp(dt * s.a[by_state ? n * s.dim + d : 0]) * state + dt * x * s.b[t * s.states + n];
          sum += state * s.c[t * s.states + n];
        }
        EXPECT_NEAR(s.y[t * s.dim + d], sum, 1e-5);
      }
    }
    for (size_t i = 0; i < exact.size(); ++i) EXPECT_NEAR(s.h[i], exact[i], 1e-5);
  }
}

TEST_P(ScanHeads, TokensOneByOneGiveTheBitsOfAll) {
  for (const bool by_state : {false, true}) {
    Selective whole(by_state ? 37 : 7, 35, 11, by_state), pieces = whole;
    whole.run(*GetParam(), 0, 11, whole.before.data());
    pieces.run(*GetParam(), 0, 1, pieces.before.data());
    pieces.run(*GetParam(), 1, 6, pieces.h.data());
    for (int64_t t = 6; t < 11; ++t) pieces.run(*GetParam(), t, t + 1, pieces.h.data());
    EXPECT_EQ(whole.y, pieces.y);
    EXPECT_EQ(whole.h, pieces.h);
  }
}

TEST_P(ScanHeads, DeltaRuleIsTheSumsByHand) {
  const int64_t dim = 21, length = 4;
  std::vector<std::vector<float>> in;
  for (unsigned i = 0; i < 6; ++i) in.push_back(small(length * dim, 10 + i));
  std::vector<float> h = small(dim * dim, 20), before = h, y(static_cast<size_t>(length * dim));
  const DeltaHead head{.r = in[0].data(),
                       .w = in[1].data(),
                       .k = in[2].data(),
                       .v = in[3].data(),
                       .a = in[4].data(),
                       .b = in[5].data(),
                       .before = before.data(),
                       .h = h.data(),
                       .y = y.data(),
                       .stride = dim,
                       .dim = dim,
                       .length = length};
  GetParam()->delta_head(&head);
  std::vector<double> exact(before.begin(), before.end());
  for (int64_t t = 0; t < length; ++t) {
    const auto at = [&](int i, int64_t j) { return static_cast<double>(in[i][t * dim + j]); };
    for (int64_t i = 0; i < dim; ++i) {
      double old = 0, sum = 0;
      for (int64_t j = 0; j < dim; ++j) old += exact[i * dim + j] * at(4, j);
      for (int64_t j = 0; j < dim; ++j) {
        double& state = exact[i * dim + j];
        state = state * at(1, j) + at(3, i) * at(2, j) + old * at(5, j);
        sum += state * at(0, j);
      }
      EXPECT_NEAR(y[t * dim + i], sum, 1e-5);
    }
  }
  for (size_t i = 0; i < exact.size(); ++i) EXPECT_NEAR(h[i], exact[i], 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Tables, ScanHeads, testing::ValuesIn(available_kernels()),
                         [](const auto& info) { return std::string(info.param->name); });

TEST(Scan, PiecesAndNeighboursDoNotChangeARowsBits) {
  const int64_t rows = 3, length = 6, width = 300;
  const auto a = small(rows * length * width, 1), x = small(rows * length * width, 2);
  const std::vector<int64_t> lengths{6, 0, 4};
  std::vector<float> h(static_cast<size_t>(rows * width), NAN), y(a.size(), NAN);
  linear_recurrence(rows, length, width, lengths.data(), a.data(), x.data(), nullptr, h.data(), y.data());
  for (int64_t row = 0; row < rows; ++row) {
    std::vector<float> state(static_cast<size_t>(width)), one(state);
    for (int64_t t = 0; t < lengths[row]; ++t) {
      const int64_t at = (row * length + t) * width, single = 1;
      std::vector<float> before = state;
      linear_recurrence(1, 1, width, &single, a.data() + at, x.data() + at, before.data(), state.data(), one.data());
      EXPECT_TRUE(std::equal(one.begin(), one.end(), y.begin() + at)) << row << " " << t;
    }
    EXPECT_TRUE(std::equal(state.begin(), state.end(), h.begin() + row * width)) << row;
    for (int64_t i = (row * length + lengths[row]) * width; i < (row + 1) * length * width; ++i) EXPECT_EQ(y[i], 0);
  }
}

}  // namespace
}  // namespace mlxk
