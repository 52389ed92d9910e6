#include "kernels/cpu_attention.h"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "kernels/cpu_features.h"
#include "kernels/cpu_op.h"
#include "kernels/phase.h"
#include "kernels/threads.h"

namespace mlxk {

namespace {

// Queries of one kv head that a thread takes at a time in prefill: enough to repay turning the keys into panels.
constexpr int64_t kQueryBlock = 32;
constexpr int64_t kKeyBlock = 256;
constexpr float kMasked = -1e30F;  // finite, so that a NaN among the scores is told from it

/// One head's keys or values: `tokens` rows of head_dim floats.
struct TokenRows {
  const float* data;
  int64_t stride;
};

struct Problem {
  int64_t batch, heads, kv_heads, length, tokens, head_dim, value_dim;
  float scale;
  bool causal;
  const mx::array *q, *k, *v, *mask;  // mask may be null

  int64_t group() const { return heads / kv_heads; }
  static TokenRows rows(const mx::array& a, int64_t b, int64_t head) {
    return {a.data<float>() + b * a.strides(0) + head * a.strides(1), a.strides(2)};
  }
  /// Keys that query `i` may see at most.
  int64_t visible(int64_t i) const { return causal ? tokens - length + i + 1 : tokens; }

  /// scores [visible] of one query: mask what it must not see, then softmax over all `width` of them.
  void finish_scores(float* scores, int64_t width, int64_t b, int64_t head, int64_t i) const {
    std::fill(scores + std::clamp<int64_t>(visible(i), 0, width), scores + width, kMasked);
    if (mask) {
      const auto stride = [&](int d) { return mask->shape(d) == 1 ? 0 : mask->strides(d); };
      const int64_t at = b * stride(0) + head * stride(1) + i * stride(2), step = stride(3);
      if (mask->dtype() == mx::bool_) {
        const bool* seen = mask->data<bool>() + at;
        for (int64_t t = 0; t < width; ++t) scores[t] = seen[t * step] ? scores[t] : kMasked;
      } else {
        const float* added = mask->data<float>() + at;
        for (int64_t t = 0; t < width; ++t) scores[t] = std::max(scores[t] + added[t * step], kMasked);
      }
    }
    cpu_kernels().softmax(scores, width);
  }
};

Scratch& thread_scratch(int which, int thread) {
  static std::vector<Scratch> scratch(static_cast<size_t>(3 * kernel_threads()));
  return scratch[static_cast<size_t>(3 * thread + which)];
}

/// One query a row: scores by blocks of keys, softmax by heads, values by columns, each spread over the threads.
void decode(const Problem& p, float* out) {
  static Scratch queries, all_scores;
  const auto& kernels = cpu_kernels();
  const int64_t group = p.group(), blocks = (p.tokens + kKeyBlock - 1) / kKeyBlock;
  float* q = queries.floats(p.batch * p.heads * p.head_dim);
  for (int64_t h = 0; h < p.batch * p.heads; ++h) {
    const float* from = p.q->data<float>() + h / p.heads * p.q->strides(0) + h % p.heads * p.q->strides(1);
    for (int64_t d = 0; d < p.head_dim; ++d) q[h * p.head_dim + d] = from[d] * p.scale;
  }
  float* scores = all_scores.floats(p.batch * p.heads * p.tokens);
  parallel_for(p.batch * p.kv_heads * blocks, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t head = item / blocks, first = item % blocks * kKeyBlock;
      const TokenRows keys = Problem::rows(*p.k, head / p.kv_heads, head % p.kv_heads);
      const FloatWeight w{keys.data, p.tokens, p.head_dim, keys.stride, kFloat32};
      kernels.float_rows(&w, q + head * group * p.head_dim, group, first, std::min(first + kKeyBlock, p.tokens),
                         scores + head * group * p.tokens, p.tokens);
    }
  });
  parallel_for(p.batch * p.heads, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t h = begin; h < end; ++h) {
      p.finish_scores(scores + h * p.tokens, p.tokens, h / p.heads, h % p.heads, 0);
    }
  });
  const int64_t columns = 2 * kernels.lanes, column_blocks = (p.value_dim + columns - 1) / columns;
  parallel_for(p.batch * p.kv_heads * column_blocks, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t head = item / column_blocks, first = item % column_blocks * columns;
      const TokenRows values = Problem::rows(*p.v, head / p.kv_heads, head % p.kv_heads);
      kernels.weighted_rows(scores + head * group * p.tokens, p.tokens, group, values.data, values.stride, p.tokens,
                            p.value_dim, first, std::min(first + columns, p.value_dim),
                            out + head * group * p.value_dim, p.value_dim);
    }
  });
}

/// Blocks of queries, each with every head that shares a kv head, on one thread from scores to values.
void prefill(const Problem& p, float* out) {
  const auto& kernels = cpu_kernels();
  const int64_t group = p.group(), blocks = (p.length + kQueryBlock - 1) / kQueryBlock;
  parallel_for(p.batch * p.kv_heads * blocks, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t head = item / blocks, b = head / p.kv_heads;
      // The last blocks see the most keys: they go first.
      const int64_t first = (blocks - 1 - item % blocks) * kQueryBlock;
      const int64_t count = std::min(kQueryBlock, p.length - first), n = group * count;
      const int64_t width = std::clamp<int64_t>(p.visible(first + count - 1), 1, p.tokens);
      float* q = thread_scratch(0, thread).floats(n * p.head_dim);
      for (int64_t r = 0; r < n; ++r) {
        const int64_t h = head % p.kv_heads * group + r / count, i = first + r % count;
        const float* from = p.q->data<float>() + b * p.q->strides(0) + h * p.q->strides(1) + i * p.q->strides(2);
        for (int64_t d = 0; d < p.head_dim; ++d) q[r * p.head_dim + d] = from[d] * p.scale;
      }
      float* scores = thread_scratch(1, thread).floats(n * width);
      const TokenRows keys = Problem::rows(*p.k, b, head % p.kv_heads);
      const FloatWeight w{keys.data, width, p.head_dim, keys.stride, kFloat32};
      void* panels = thread_scratch(2, thread).bytes(static_cast<size_t>(kernels.float_scratch(p.head_dim)));
      kernels.float_panels(&w, q, n, 0, (width + kernels.lanes - 1) / kernels.lanes, scores, width, panels);
      for (int64_t r = 0; r < n; ++r) {
        p.finish_scores(scores + r * width, width, b, head % p.kv_heads * group + r / count, first + r % count);
      }
      const TokenRows values = Problem::rows(*p.v, b, head % p.kv_heads);
      for (int64_t g = 0; g < group; ++g) {
        const int64_t h = head % p.kv_heads * group + g;
        kernels.weighted_rows(scores + g * count * width, width, count, values.data, values.stride, width, p.value_dim, 0,
                              p.value_dim, out + ((b * p.heads + h) * p.length + first) * p.value_dim, p.value_dim);
      }
    }
  });
}

void check(const mx::array& q, const mx::array& k, const mx::array& v) {
  for (const auto* a : {&q, &k, &v}) {
    if (a->ndim() != 4 || a->dtype() != mx::float32) throw std::invalid_argument("[attention] q, k and v must be 4-D float32");
  }
  if (k.shape(1) == 0 || q.shape(1) % k.shape(1) != 0) {
    throw std::invalid_argument("[attention] the heads must be a multiple of the kv heads");
  }
}

}  // namespace

mx::array cpu_attention(const mx::array& q, const mx::array& k, const mx::array& v, float scale, const std::string& mode,
                        const std::optional<mx::array>& mask) {
  check(q, k, v);
  std::vector<mx::array> inputs{q, k, v};
  if (mask) inputs.push_back(*mask);
  auto compute = [scale, causal = mode == "causal", phase = current_phase()](const Arrays& in, Arrays& out) {
    for (int i = 0; i < 3; ++i) {
      if (in[static_cast<size_t>(i)].strides(3) != 1) throw std::runtime_error("[attention] a token's numbers must be contiguous");
    }
    const Problem p{in[0].shape(0), in[0].shape(1), in[1].shape(1), in[0].shape(2), in[1].shape(2), in[0].shape(3),
                    in[2].shape(3), scale,          causal,         &in[0],         &in[1],         &in[2],
                    in.size() > 3 ? &in[3] : nullptr};
    if (out[0].size() == 0 || p.tokens == 0) return;
    if (phase == Phase::decode && p.length == 1) {
      decode(p, out[0].data<float>());
    } else {
      prefill(p, out[0].data<float>());
    }
  };
  mx::Shape shape = q.shape();
  shape[3] = v.shape(3);
  return mx::array(std::move(shape), mx::float32, cpu_op("CpuAttention", std::move(compute)), std::move(inputs));
}

}  // namespace mlxk
