#include "cpu/experts.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>

#include "cpu/features.h"
#include "cpu/threads.h"

namespace mlxk {

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
// The chosen rows that are processed at a time, in whole experts unless one has more: bounds the memory for a long
// prompt.
constexpr int64_t kBlockRows = 512;

/// The pairs of a token and one of its experts, sorted by expert: a counting sort.
struct Groups {
  Groups(const uint32_t* ids, int64_t pairs, int64_t experts) : begin(static_cast<size_t>(experts) + 1, 0) {
    const auto known = [&](int64_t p) { return ids[p] < static_cast<uint64_t>(experts); };
    for (int64_t p = 0; p < pairs; ++p) {
      if (known(p)) ++begin[ids[p] + 1];
    }
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    order.resize(static_cast<size_t>(begin.back()));
    std::vector<int64_t> next(begin.begin(), begin.end() - 1);
    for (int64_t p = 0; p < pairs; ++p) {
      if (known(p)) {
        order[static_cast<size_t>(next[ids[p]]++)] = p;
      } else {
        unknown.push_back(p);
      }
    }
  }

  std::vector<int64_t> order;    // pairs
  std::vector<int64_t> begin;    // the start of each expert's pairs in `order`, and the end
  std::vector<int64_t> unknown;  // pairs whose id is not an expert
};

/// Experts [first, last) and their pairs [begin, end) in Groups::order.
struct ExpertBlock {
  size_t first, last;
  int64_t begin, end;
};

/// The block that starts with expert `first`: as many whole experts as have kBlockRows pairs in all, at least one.
ExpertBlock block_from(const Groups& groups, size_t first) {
  size_t last = first + 1;
  const size_t experts = groups.begin.size() - 1;
  while (last < experts && groups.begin[last + 1] - groups.begin[first] <= kBlockRows) ++last;
  return {first, last, groups.begin[first], groups.begin[last]};
}

/// rows[i] = x[the token of the block's pair i].
void gather(const Groups& groups, const ExpertBlock& block, const float* x, int64_t columns, int64_t k, float* rows) {
  parallel_for(block.end - block.begin, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t token = groups.order[static_cast<size_t>(block.begin + i)] / k;
      std::memcpy(rows + i * columns, x + token * columns, static_cast<size_t>(columns) * sizeof(float));
    }
  });
}

/// The products of the block's experts, whose activations are in the block's order; appended.
void add_products(const ExpertStack& stack, const Groups& groups, const ExpertBlock& block, float* y,
                  std::vector<Product>& products) {
  for (size_t e = block.first; e < block.last; ++e) {
    const int64_t first = groups.begin[e] - block.begin, count = groups.begin[e + 1] - groups.begin[e];
    if (count > 0) products.push_back({stack[e], first, count, y + first * stack[e].rows});
  }
}

/// Sets the scores of all experts outside the best groups to -infinity.
void keep_best_groups(const RoutingRule& rule, std::vector<float>& strengths) {
  const size_t groups = static_cast<size_t>(rule.groups), size = strengths.size() / groups;
  const size_t best = std::min(static_cast<size_t>(rule.group_best), size);
  std::vector<float> merits, sorted;
  for (size_t g = 0; g < groups; ++g) {
    const auto begin = strengths.begin() + static_cast<int64_t>(g * size);
    sorted.assign(begin, begin + static_cast<int64_t>(size));
    std::partial_sort(sorted.begin(), sorted.begin() + static_cast<int64_t>(best), sorted.end(), std::greater<>());
    merits.push_back(std::accumulate(sorted.begin(), sorted.begin() + static_cast<int64_t>(best), 0.0F));
  }
  std::vector<size_t> order(groups);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return merits[a] > merits[b]; });
  for (size_t i = static_cast<size_t>(rule.top_groups); i < groups; ++i) {
    const auto begin = strengths.begin() + static_cast<int64_t>(order[i] * size);
    std::fill(begin, begin + static_cast<int64_t>(size), -std::numeric_limits<float>::infinity());
  }
}

void route_row(const RoutingRule& rule, const float* logits, int64_t experts, uint32_t* ids, float* weights,
               std::vector<float>& scores, std::vector<uint32_t>& numbers) {
  const auto k = static_cast<size_t>(rule.top_k);
  numbers.resize(static_cast<size_t>(experts));
  std::iota(numbers.begin(), numbers.end(), 0U);
  scores.assign(logits, logits + experts);
  if (!std::all_of(scores.begin(), scores.end(), [](float s) { return std::isfinite(s); })) {
    std::copy_n(numbers.begin(), k, ids);
    std::fill_n(weights, k, kNan);
    return;
  }
  if (rule.score == RoutingRule::Score::softmax) {
    cpu_kernels().softmax(scores.data(), experts);
  } else if (rule.score == RoutingRule::Score::sigmoid) {
    for (float& s : scores) s = 1 / (1 + std::exp(-s));
  }
  std::vector<float> strengths;
  const bool as_scored = !rule.selection_bias && rule.groups == 1;
  if (!as_scored) {
    strengths = scores;
    for (size_t e = 0; rule.selection_bias && e < strengths.size(); ++e) strengths[e] += rule.selection_bias[e];
    if (rule.groups > 1) keep_best_groups(rule, strengths);
  }
  const std::vector<float>& strength = as_scored ? scores : strengths;
  std::partial_sort(numbers.begin(), numbers.begin() + static_cast<int64_t>(k), numbers.end(),
                    [&](uint32_t a, uint32_t b) {
                      const float x = strength[a], y = strength[b];
                      return x > y || (x == y && a < b);
                    });
  for (size_t j = 0; j < k; ++j) {
    ids[j] = numbers[j];
    weights[j] = scores[numbers[j]];
  }
  if (rule.score == RoutingRule::Score::softmax_of_chosen) cpu_kernels().softmax(weights, rule.top_k);
  float sum = rule.eps;
  for (size_t j = 0; j < k; ++j) sum += weights[j];
  const float factor = rule.normalise && sum > 0 ? rule.scale / sum : rule.scale;
  for (size_t j = 0; j < k; ++j) weights[j] *= rule.expert_scale ? factor * rule.expert_scale[ids[j]] : factor;
}

}  // namespace

void route(const RoutingRule& rule, const float* logits, int64_t n, int64_t experts, uint32_t* ids, float* weights) {
  parallel_for(n, 16, [&](int64_t begin, int64_t end, int) {
    std::vector<float> scores;
    std::vector<uint32_t> numbers;
    for (int64_t r = begin; r < end; ++r) {
      route_row(rule, logits + r * experts, experts, ids + r * rule.top_k, weights + r * rule.top_k, scores, numbers);
    }
  });
}

void multiply_chosen(const ExpertStack& stack, const float* x, int64_t n, const uint32_t* ids, int64_t k, float* y,
                     Phase phase) {
  if (stack.empty()) return;
  static Scratch gathered, product;
  const int64_t columns = stack[0].columns, rows = stack[0].rows;
  const Groups groups(ids, n * k, static_cast<int64_t>(stack.size()));
  std::vector<Product> products;
  for (size_t e = 0; e < stack.size();) {
    const ExpertBlock block = block_from(groups, e);
    e = block.last;
    const int64_t pairs = block.end - block.begin;
    float *from = gathered.floats(pairs * columns), *to = product.floats(pairs * rows);
    gather(groups, block, x, columns, k, from);
    products.clear();
    add_products(stack, groups, block, to, products);
    multiply(products, from, pairs, phase);
    for (int64_t i = 0; i < pairs; ++i) {
      std::copy_n(to + i * rows, rows, y + groups.order[static_cast<size_t>(block.begin + i)] * rows);
    }
  }
  for (const int64_t p : groups.unknown) std::fill_n(y + p * rows, rows, kNan);
}

void add_gated_experts(const GatedExperts& experts, const float* x, int64_t n, const uint32_t* ids,
                       const float* weights, int64_t k, float* out, Phase phase) {
  if (experts.gate.empty()) return;
  static Scratch gathered, gates, ups, downs;
  const auto& kernels = cpu_kernels();
  const int64_t hidden = experts.gate[0].columns, wide = experts.gate[0].rows;
  const Groups groups(ids, n * k, static_cast<int64_t>(experts.gate.size()));
  std::vector<Product> products;
  for (size_t e = 0; e < experts.gate.size();) {
    const ExpertBlock block = block_from(groups, e);
    e = block.last;
    const int64_t pairs = block.end - block.begin;
    if (pairs == 0) continue;
    float *from = gathered.floats(pairs * hidden), *gate = gates.floats(pairs * wide), *up = ups.floats(pairs * wide);
    float* down = downs.floats(pairs * hidden);
    gather(groups, block, x, hidden, k, from);
    products.clear();
    add_products(experts.gate, groups, block, gate, products);
    add_products(experts.up, groups, block, up, products);
    multiply(products, from, pairs, phase);
    parallel_for(pairs * wide, 4096, [&](int64_t begin, int64_t end, int) {
      kernels.gated(gate + begin, up + begin, end - begin, experts.activation, gate + begin);
    });
    products.clear();
    add_products(experts.down, groups, block, down, products);
    multiply(products, gate, pairs, phase);
    // Two experts may have a token in common, so threads share out columns, not rows.
    parallel_for((hidden + 63) / 64, grain_of(pairs * 64), [&](int64_t begin, int64_t end, int) {
      const int64_t first = begin * 64, count = std::min(end * 64, hidden) - first;
      for (int64_t i = 0; i < pairs; ++i) {
        const int64_t pair = groups.order[static_cast<size_t>(block.begin + i)];
        kernels.add(down + i * hidden + first, weights[pair], count, out + pair / k * hidden + first);
      }
    });
  }
  for (const int64_t p : groups.unknown) std::fill_n(out + p / k * hidden, hidden, kNan);
}

}  // namespace mlxk
