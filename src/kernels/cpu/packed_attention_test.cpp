// Attention within packed sequences against its definition in float64.
#include "kernels/cpu/packed_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <vector>

#include "cpu/phase.h"
#include "mlx/ops.h"
#include "mlx/random.h"

namespace mlxk {
namespace {

constexpr int kHeads = 4, kKvHeads = 2, kDim = 16;

/// The parameters of a test.
struct Options {
  bool causal = false;
  int window = 0;
  int distances = 0;  // > 0: with a bias
  bool rotated = false;
  int unseen = 0;  // tokens at the end of a sequence that are not attended to
};

PackedAttention problem(const std::vector<int>& lengths, const Options& options) {
  const int tokens = std::accumulate(lengths.begin(), lengths.end(), 0);
  const auto normal = [](mx::Shape shape, uint64_t seed) {
    return mx::random::normal(std::move(shape), mx::random::key(seed));
  };
  PackedAttention a{normal({tokens, kHeads * kDim}, 1),
                    normal({tokens, kKvHeads * kDim}, 2),
                    normal({tokens, kKvHeads * kDim}, 3),
                    lengths,
                    kDim,
                    0.25F};
  a.causal = options.causal;
  a.window = options.window;
  if (options.unseen > 0) {
    for (const int length : lengths) a.attended.push_back(std::max(1, length - options.unseen));
  }
  if (options.distances > 0) a.distance_bias = normal({kHeads, 2 * options.distances + 1}, 4);
  if (options.rotated) {
    for (int i = 0; i < kDim / 2; ++i) a.rotation.steps.push_back(static_cast<float>(std::pow(0.5, i)));
  }
  return a;
}

std::vector<float> floats(const mx::array& x) {
  mx::array all = mx::contiguous(x);
  all.eval();
  return {all.data<float>(), all.data<float>() + all.size()};
}

/// Head `head` of a token of x, rotated by its position.
std::vector<double> head_of(const std::vector<float>& x, int token, int heads, int head, int position,
                            const Rotation& rotation) {
  const float* from = x.data() + (static_cast<size_t>(token) * static_cast<size_t>(heads) + head) * kDim;
  std::vector<double> y(from, from + kDim);
  for (size_t i = 0; i < rotation.steps.size(); ++i) {
    const double angle = position * static_cast<double>(rotation.steps[i]);
    const double a = y[i], b = y[i + kDim / 2];
    y[i] = a * std::cos(angle) - b * std::sin(angle);
    y[i + kDim / 2] = a * std::sin(angle) + b * std::cos(angle);
  }
  return y;
}

std::vector<double> definition(const PackedAttention& a) {
  const auto q = floats(a.q), k = floats(a.k), v = floats(a.v);
  const auto bias = a.distance_bias ? floats(*a.distance_bias) : std::vector<float>{};
  const int distances = a.distance_bias ? a.distance_bias->shape(1) / 2 : 0;
  std::vector<double> out;
  int first = 0;
  for (size_t s = 0; s < a.lengths.size(); ++s) {
    const int length = a.lengths[s], attended = a.attended.empty() ? length : a.attended[s];
    for (int i = 0; i < length; ++i) {
      for (int head = 0; head < kHeads; ++head) {
        const int kv = head / (kHeads / kKvHeads);
        const auto query = head_of(q, first + i, kHeads, head, i, a.rotation);
        std::vector<double> weights(static_cast<size_t>(length)), sum(kDim);
        double total = 0;
        for (int j = 0; j < length; ++j) {
          if (j >= attended || (a.causal && j > i) || (a.window > 0 && std::abs(i - j) >= a.window)) continue;
          const auto key = head_of(k, first + j, kKvHeads, kv, j, a.rotation);
          double score = std::inner_product(query.begin(), query.end(), key.begin(), 0.0) * a.scale;
          const int distance = std::clamp(j - i, -distances, distances) + distances;
          if (distances > 0) score += bias[static_cast<size_t>(head * (2 * distances + 1) + distance)];
          total += weights[static_cast<size_t>(j)] = std::exp(score);
        }
        for (int j = 0; j < length; ++j) {
          const auto value = head_of(v, first + j, kKvHeads, kv, 0, {});
          for (int d = 0; d < kDim; ++d) {
            sum[static_cast<size_t>(d)] += weights[static_cast<size_t>(j)] / total * value[static_cast<size_t>(d)];
          }
        }
        out.insert(out.end(), sum.begin(), sum.end());
      }
    }
    first += length;
  }
  return out;
}

std::vector<float> run(const PackedAttention& a, Phase phase) {
  const PhaseScope scope(phase);
  return floats(cpu_packed_attention(a));
}

double difference(const std::vector<float>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double here = std::abs(a[i] - b[i]);
    if (!(here <= largest)) largest = here;  // a NaN counts
  }
  return largest;
}

// Sequences longer than a chunk of keys, than a window and than a table of biases, and one of a single token.
const std::vector<int> kLengths{3, 300, 1, 40, 17};

TEST(CpuPackedAttention, IsTheDefinition) {
  const Options all[] = {{},
                         {.causal = true},
                         {.window = 9},
                         {.causal = true, .window = 9},
                         {.window = 30, .rotated = true},
                         {.distances = 12},
                         {.rotated = true},
                         {.rotated = true, .unseen = 5}};
  for (const Options& options : all) {
    const PackedAttention a = problem(kLengths, options);
    const auto wanted = definition(a);
    SCOPED_TRACE(testing::Message() << "causal " << options.causal << " window " << options.window << " bias "
                                    << options.distances << " rotated " << options.rotated);
    EXPECT_LT(difference(run(a, Phase::prefill), wanted), 1e-5);
    EXPECT_LT(difference(run(a, Phase::encode), wanted), 2e-3);
  }
}

TEST(CpuPackedAttention, ASequenceGivesTheSameBitsAloneAndBesideOthers) {
  for (const Phase phase : {Phase::prefill, Phase::encode}) {
    for (const Options& options : {Options{}, Options{.window = 9, .rotated = true}, Options{.distances = 12}}) {
      PackedAttention a = problem(kLengths, options);
      const auto together = run(a, phase);
      std::vector<float> alone;
      int first = 0;
      for (const int length : kLengths) {
        PackedAttention one = a;
        for (mx::array* x : {&one.q, &one.k, &one.v}) *x = mx::slice(*x, {first, 0}, {first + length, x->shape(1)});
        one.lengths = {length};
        const auto own = run(one, phase);
        alone.insert(alone.end(), own.begin(), own.end());
        first += length;
      }
      EXPECT_EQ(together, alone);
    }
  }
}

TEST(CpuPackedAttention, RefusesLengthsThatDoNotAddUp) {
  PackedAttention a = problem({3, 4}, {});
  a.lengths = {3, 5};
  EXPECT_THROW(cpu_packed_attention(a), std::invalid_argument);
}

}  // namespace
}  // namespace mlxk
