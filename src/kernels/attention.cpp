#include "kernels/attention.h"

#include <algorithm>

#include "kernels/cpu_features.h"
#include "kernels/isa/table.h"
#include "kernels/scratch.h"
#include "kernels/threads.h"

namespace mlxk {

namespace {

// Queries of one kv head that a thread takes at a time in prefill: enough to repay turning the keys into panels.
constexpr int64_t kQueryBlock = 64;
constexpr int64_t kKeyBlock = 256;
constexpr float kMasked = -1e30F;  // finite, so that a NaN among the scores is told from it

/// Masks what query `i` must not see of its `width` scores, then softmax over all of them.
void finish_scores(const AttentionProblem& p, float* scores, int64_t width, int64_t b, int64_t head, int64_t i) {
  const int64_t visible = p.causal ? p.tokens[static_cast<size_t>(b)] - p.length + i + 1 : p.tokens[static_cast<size_t>(b)];
  std::fill(scores + std::clamp<int64_t>(visible, 0, width), scores + width, kMasked);
  if (p.mask) {
    const int64_t at = b * p.mask_steps[0] + head * p.mask_steps[1] + i * p.mask_steps[2], step = p.mask_steps[3];
    if (p.mask_is_bool) {
      const bool* seen = static_cast<const bool*>(p.mask) + at;
      for (int64_t t = 0; t < width; ++t) scores[t] = seen[t * step] ? scores[t] : kMasked;
    } else {
      const float* added = static_cast<const float*>(p.mask) + at;
      for (int64_t t = 0; t < width; ++t) {
        const float sum = scores[t] + added[t * step];
        scores[t] = sum < kMasked ? kMasked : sum;  // -inf in the mask; a NaN stays
      }
    }
  }
  cpu_kernels().softmax(scores, width);
}

/// One query a row: scores by blocks of keys, softmax by heads, values by columns, each spread over the threads.
void attend_one(const AttentionProblem& p) {
  static Scratch query_scratch, score_scratch;
  const auto& kernels = cpu_kernels();
  const int64_t group = p.heads / p.kv_heads, most = *std::max_element(p.tokens.begin(), p.tokens.end());
  const int64_t blocks = (most + kKeyBlock - 1) / kKeyBlock;
  float* q = query_scratch.floats(p.batch * p.heads * p.head_dim);
  for (int64_t h = 0; h < p.batch * p.heads; ++h) {
    const float* from = p.q.at(h / p.heads, h % p.heads, 0);
    for (int64_t d = 0; d < p.head_dim; ++d) q[h * p.head_dim + d] = from[d] * p.scale;
  }
  float* scores = score_scratch.floats(p.batch * p.heads * most);
  const int64_t head_cost = group * most * p.head_dim;
  parallel_for(p.batch * p.kv_heads * blocks, grain_of(head_cost / blocks), [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t head = item / blocks, b = head / p.kv_heads, first = item % blocks * kKeyBlock;
      const int64_t tokens = p.tokens[static_cast<size_t>(b)], last = std::min(first + kKeyBlock, tokens);
      const FloatWeight w{p.k.at(b, head % p.kv_heads, 0), tokens, p.head_dim, p.k.token_step, kFloat32};
      if (first < last) {
        kernels.float_rows(&w, q + head * group * p.head_dim, group, first, last, scores + head * group * most, most);
      }
    }
  });
  constexpr int64_t kExpCost = 8;
  parallel_for(p.batch * p.heads, grain_of(most * kExpCost), [&](int64_t begin, int64_t end, int) {
    for (int64_t h = begin; h < end; ++h) {
      finish_scores(p, scores + h * most, p.tokens[static_cast<size_t>(h / p.heads)], h / p.heads, h % p.heads, 0);
    }
  });
  const int64_t columns = 2 * kernels.lanes, column_blocks = (p.value_dim + columns - 1) / columns;
  parallel_for(p.batch * p.kv_heads * column_blocks, grain_of(head_cost / column_blocks), [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t head = item / column_blocks, b = head / p.kv_heads, first = item % column_blocks * columns;
      kernels.weighted_rows(scores + head * group * most, most, group, p.v.at(b, head % p.kv_heads, 0), p.v.token_step,
                            p.tokens[static_cast<size_t>(b)], p.value_dim, first, std::min(first + columns, p.value_dim),
                            p.out.at(b, head % p.kv_heads * group, 0), p.out.head_step);
    }
  });
}

Scratch& thread_scratch(int which, int thread) {
  static std::vector<Scratch> scratch(static_cast<size_t>(3 * kernel_threads()));
  return scratch[static_cast<size_t>(3 * thread + which)];
}

/// A block of queries of every head that shares a kv head, on one thread from scores to values.
void attend_block(const AttentionProblem& p, int64_t b, int64_t kv_head, int64_t first, int thread) {
  const auto& kernels = cpu_kernels();
  const int64_t group = p.heads / p.kv_heads, count = std::min(kQueryBlock, p.length - first), n = group * count;
  const int64_t tokens = p.tokens[static_cast<size_t>(b)];
  const int64_t width = p.causal ? std::clamp<int64_t>(tokens - p.length + first + count, 1, tokens) : tokens;
  float* q = thread_scratch(0, thread).floats(n * p.head_dim);
  for (int64_t r = 0; r < n; ++r) {
    const float* from = p.q.at(b, kv_head * group + r / count, first + r % count);
    for (int64_t d = 0; d < p.head_dim; ++d) q[r * p.head_dim + d] = from[d] * p.scale;
  }
  float* scores = thread_scratch(1, thread).floats(n * width);
  const FloatWeight w{p.k.at(b, kv_head, 0), width, p.head_dim, p.k.token_step, kFloat32};
  void* panels = thread_scratch(2, thread).bytes(static_cast<size_t>(kernels.float_scratch(p.head_dim)));
  kernels.float_panels(&w, q, n, 0, (width + kernels.lanes - 1) / kernels.lanes, scores, width, panels);
  for (int64_t r = 0; r < n; ++r) {
    finish_scores(p, scores + r * width, width, b, kv_head * group + r / count, first + r % count);
  }
  for (int64_t g = 0; g < group; ++g) {
    kernels.weighted_rows(scores + g * count * width, width, count, p.v.at(b, kv_head, 0), p.v.token_step, width,
                          p.value_dim, 0, p.value_dim, p.out.at(b, kv_head * group + g, first), p.out.token_step);
  }
}

}  // namespace

void attend(const AttentionProblem& p, Phase phase) {
  if (p.batch == 0 || p.heads == 0 || p.length == 0 || p.value_dim == 0) return;
  if (phase == Phase::decode && p.length == 1) return attend_one(p);
  const int64_t blocks = (p.length + kQueryBlock - 1) / kQueryBlock;
  parallel_for(p.batch * p.kv_heads * blocks, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t item = begin; item < end; ++item) {
      // The last blocks see the most keys: they go first.
      const int64_t head = item % (p.batch * p.kv_heads), block = blocks - 1 - item / (p.batch * p.kv_heads);
      attend_block(p, head / p.kv_heads, head % p.kv_heads, block * kQueryBlock, thread);
    }
  });
}

}  // namespace mlxk
