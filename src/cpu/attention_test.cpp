#include "cpu/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/testing/random_floats.h"

namespace mlxk {
namespace {

constexpr double kBound = 1e-4;  // of a query's largest value

/// Queries, keys and values of one sequence: q [heads, length, dim], k and v [kv_heads, tokens, dim].
struct Sequence {
  int64_t heads, kv_heads, length, tokens, dim;
  std::vector<float> q = random_floats(heads * length * dim, 1), k = random_floats(kv_heads * tokens * dim, 2),
                     v = random_floats(kv_heads * tokens * dim, 3);

  AttentionProblem problem() const {
    AttentionProblem p{1, heads, kv_heads, length, dim, dim, {tokens}, 0.3F, true};
    p.q = {q.data(), 0, length * dim, dim};
    p.k.stored = rows(k, tokens);
    p.v.stored = rows(v, tokens);
    return p;
  }
  HeadRows<const char> rows(const std::vector<float>& x, int64_t count) const {
    return {reinterpret_cast<const char*>(x.data()), 0, count * dim * 4, dim * 4};
  }
};

/// [heads, length, value_dim] of every row.
std::vector<float> result(AttentionProblem p, Phase phase) {
  std::vector<float> out(static_cast<size_t>(p.batch * p.heads * p.length * p.value_dim), NAN);
  p.out = {out.data(), p.heads * p.length * p.value_dim, p.length * p.value_dim, p.value_dim};
  attend(p, phase);
  return out;
}

/// The definition, in double.
std::vector<double> exact(const AttentionProblem& p, const std::vector<float>& k, const std::vector<float>& v) {
  std::vector<double> out;
  const int64_t tokens = p.tokens[0], group = p.heads / p.kv_heads;
  for (int64_t h = 0; h < p.heads; ++h) {
    for (int64_t i = 0; i < p.length; ++i) {
      const int64_t at = tokens - p.length + i;
      std::vector<double> weights;
      double sum = p.sinks ? std::exp(double{p.sinks[h]}) : 0;
      for (int64_t t = 0; t < tokens; ++t) {
        double score = 0;
        for (int64_t d = 0; d < p.head_dim; ++d) {
          score += double{p.q.at(0, h, i)[d]} * k[static_cast<size_t>((h / group * tokens + t) * p.head_dim + d)];
        }
        score *= p.scale * (p.query_scales ? p.query_scales[i] : 1);
        if (p.soft_cap > 0) score = p.soft_cap * std::tanh(score / p.soft_cap);
        bool seen = !p.causal || t <= at;
        if (p.window > 0) seen = seen && (t > at - (p.window - p.keep) || t < p.keep);
        if (p.mask) {
          const int64_t place = h * p.mask_steps[1] + i * p.mask_steps[2] + t * p.mask_steps[3];
          if (p.mask_is_bool) {
            seen = seen && static_cast<const bool*>(p.mask)[place];
          } else {
            score += double{static_cast<const float*>(p.mask)[place]};
          }
        }
        weights.push_back(seen ? std::exp(score) : 0);
        sum += weights.back();
      }
      for (int64_t d = 0; d < p.value_dim; ++d) {
        double value = 0;
        for (int64_t t = 0; t < tokens; ++t) {
          value += weights[static_cast<size_t>(t)] * v[static_cast<size_t>((h / group * tokens + t) * p.value_dim + d)];
        }
        out.push_back(sum == 0 ? 0 : value / sum);
      }
    }
  }
  return out;
}

void expect_exact(const AttentionProblem& p, const Sequence& s, const std::string& what, double bound = kBound) {
  const auto wanted = exact(p, s.k, s.v);
  for (const Phase phase : {Phase::decode, Phase::prefill}) {
    const auto got = result(p, phase);
    for (int64_t row = 0; row < p.heads * p.length; ++row) {
      double worst = 0, largest = 0;
      for (int64_t d = 0; d < p.value_dim; ++d) {
        const auto i = static_cast<size_t>(row * p.value_dim + d);
        const double error = std::abs(wanted[i] - got[i]);
        worst = std::isnan(error) ? INFINITY : std::max(worst, error);
        largest = std::max(largest, std::abs(wanted[i]));
      }
      ASSERT_LE(worst, bound * largest + 1e-12)
          << what << ", row " << row << ", " << s.tokens << " tokens of " << s.dim;
    }
  }
}

const Sequence kShapes[] = {{1, 1, 1, 1, 1},    {4, 2, 1, 1, 16},    {9, 3, 1, 700, 64},  {6, 3, 40, 40, 24},
                            {4, 1, 5, 300, 80}, {3, 3, 33, 257, 63}, {8, 2, 2, 256, 128}, {2, 1, 230, 530, 20}};

TEST(Attend, EqualsItsDefinition) {
  for (const auto& s : kShapes) {
    auto p = s.problem();
    expect_exact(p, s, "causal");
    p.causal = false;
    expect_exact(p, s, "all");
  }
}

TEST(Attend, SeesAWindowAndTheTokensThatAreKept) {
  for (const auto& s : kShapes) {
    for (const auto& [window, keep] : {std::pair{1, 0}, {7, 0}, {7, 3}, {256, 0}, {300, 270}, {1000, 4}}) {
      auto p = s.problem();
      p.window = window;
      p.keep = keep;
      expect_exact(p, s, "window " + std::to_string(window) + " keep " + std::to_string(keep));
    }
  }
}

TEST(Attend, KnowsSinksSoftCapsAndScalesOfQueries) {
  for (const auto& s : kShapes) {
    const auto sinks = random_floats(s.heads, 4), scales = random_floats(s.length, 5);
    auto p = s.problem();
    p.sinks = sinks.data();
    expect_exact(p, s, "sinks");
    p.soft_cap = 1.5F;
    expect_exact(p, s, "sinks and soft cap");
    p.query_scales = scales.data();
    p.window = 5;
    expect_exact(p, s, "all of them in a window");
  }
}

TEST(Attend, TakesMasksOfBothKinds) {
  for (const auto& s : kShapes) {
    const int64_t size = s.length * s.tokens;
    const auto added = random_floats(size, 6);
    std::vector<char> seen(static_cast<size_t>(size));
    for (size_t i = 0; i < seen.size(); ++i) seen[i] = added[i] > -0.5F || i % static_cast<size_t>(s.tokens) == 0;
    auto p = s.problem();
    p.causal = false;
    p.mask_steps[2] = s.tokens;
    p.mask_steps[3] = 1;
    p.mask = added.data();
    expect_exact(p, s, "added");
    p.mask = seen.data();
    p.mask_is_bool = true;
    expect_exact(p, s, "bool");
  }
}

TEST(Attend, GivesZerosWhereNothingIsSeenAndNanWhereAKeyIs) {
  const Sequence s{2, 1, 1, 40, 16};
  auto p = s.problem();
  const std::vector<char> nothing(40, 0);
  p.mask = nothing.data();
  p.mask_is_bool = true;
  p.mask_steps[3] = 1;
  auto broken = s;
  broken.k[100] = NAN;
  for (const Phase phase : {Phase::decode, Phase::prefill}) {
    for (const float x : result(p, phase)) EXPECT_EQ(x, 0);
    EXPECT_TRUE(std::isnan(result(broken.problem(), phase)[0]));
  }
  p.batch = 0;
  EXPECT_TRUE(result(p, Phase::decode).empty());
}

/// Tokens of keys or values [kv_heads, tokens, dim] in a ring of `window` slots after the first `tokens`.
std::vector<float> in_ring(const Sequence& s, const std::vector<float>& x, const AttentionProblem& p, int64_t tokens) {
  std::vector<float> ring(static_cast<size_t>(s.kv_heads * p.ring * s.dim), 0);
  for (int64_t h = 0; h < s.kv_heads; ++h) {
    for (int64_t t = 0; t < tokens; ++t) {
      std::memcpy(&ring[static_cast<size_t>((h * p.ring + p.slot_of(t)) * s.dim)],
                  &x[static_cast<size_t>((h * s.tokens + t) * s.dim)], static_cast<size_t>(s.dim) * 4);
    }
  }
  return ring;
}

TEST(Attend, GivesTheSameBitsWhereverKeysLie) {
  for (const int64_t length : {1, 50, 300}) {
    for (const auto& [window, keep] : {std::pair{40, 0}, {260, 0}, {260, 7}, {301, 0}}) {
      const Sequence s{4, 2, length, 700, 32};
      auto p = s.problem();
      p.window = window;
      p.keep = keep;
      for (const Phase phase : {Phase::decode, Phase::prefill}) {
        const auto in_order = result(p, phase);
        auto ring = p;
        ring.ring = window;
        const int64_t old = s.tokens - length;
        const auto k = in_ring(s, s.k, ring, old), v = in_ring(s, s.v, ring, old);
        ring.k.stored = s.rows(k, window);
        ring.v.stored = s.rows(v, window);
        ring.k.fresh = s.rows(s.k, s.tokens);
        ring.k.fresh->data += old * s.dim * 4;
        ring.v.fresh = s.rows(s.v, s.tokens);
        ring.v.fresh->data += old * s.dim * 4;
        EXPECT_EQ(result(ring, phase), in_order) << length << " queries, window " << window << ", keep " << keep;
      }
    }
  }
}

TEST(Attend, GivesAQueryTheSameBitsAloneAndInCompany) {
  const Sequence s{6, 2, 100, 600, 48};
  for (const Phase phase : {Phase::decode, Phase::prefill}) {
    const auto together = result(s.problem(), phase);
    for (const int64_t cut : {1, 33, 99}) {  // the first `cut` queries alone, as if the rest had not come yet
      auto p = s.problem();
      p.length = cut;
      p.tokens = {s.tokens - s.length + cut};
      const auto head = result(p, phase);
      for (int64_t h = 0; h < s.heads; ++h) {
        EXPECT_EQ(
            std::memcmp(&head[static_cast<size_t>(h * cut * s.dim)],
                        &together[static_cast<size_t>(h * s.length * s.dim)], static_cast<size_t>(cut * s.dim) * 4),
            0)
            << cut;
      }
    }
    auto rows = s.problem();  // many rows are shared out differently from one
    rows.batch = 40;
    rows.tokens.assign(40, s.tokens);
    const auto all = result(rows, phase);
    EXPECT_EQ(std::memcmp(all.data() + 39 * together.size(), together.data(), together.size() * 4), 0);
  }
}

TEST(Attend, ReadsHalfAndBrainFloats) {
  const Sequence s{6, 2, 3, 300, 72};
  for (const FloatType type : {kFloat16, kBFloat16}) {
    auto rounded = s;  // to 8 bits, which both types have
    std::vector<uint16_t> k, v;
    const auto pack = [&](std::vector<float>& from, std::vector<uint16_t>& to) {
      for (float& x : from) {
        x = std::round(x * 32) / 32;
        uint32_t bits;
        std::memcpy(&bits, &x, 4);
        const uint32_t half = x == 0 ? 0 : (bits >> 16 & 0x8000) | (((bits & 0x7fffffff) - 0x38000000) >> 13);
        to.push_back(static_cast<uint16_t>(type == kFloat16 ? half : bits >> 16));
      }
    };
    pack(rounded.k, k);
    pack(rounded.v, v);
    auto p = rounded.problem();
    p.k = {{reinterpret_cast<const char*>(k.data()), 0, s.tokens * s.dim * 2, s.dim * 2}, {}, type};
    p.v = {{reinterpret_cast<const char*>(v.data()), 0, s.tokens * s.dim * 2, s.dim * 2}, {}, type};
    expect_exact(p, rounded, "halves");
  }
}

}  // namespace
}  // namespace mlxk
