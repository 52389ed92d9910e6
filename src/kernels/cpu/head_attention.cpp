#include "kernels/cpu/head_attention.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "cpu/attention.h"
#include "cpu/features.h"
#include "cpu/phase.h"
#include "cpu/threads.h"
#include "kernels/cpu_op.h"

namespace mlxk {

namespace {

FloatType type_of(const mx::array& a) {
  if (a.dtype() == mx::float32) return kFloat32;
  return a.dtype() == mx::float16 ? kFloat16 : kBFloat16;
}

/// Adjacent heads in the tokens of x [B, L, heads * dim].
template <class T>
HeadRows<T> side_by_side(T* data, const mx::array& x, int64_t dim) {
  const int64_t item = sizeof(float) / sizeof(T), width = x.shape(2);
  return {data, x.shape(1) * width * item, dim * item, width * item};
}

const char* bytes_of(const float* data) { return reinterpret_cast<const char*>(data); }

// A thread takes a whole head, so that keys and values are packed into panels once, or with few heads a part of its
// queries, at least this many.
constexpr int64_t kHeadsAThread = 3, kMinQueries = 192;

Scratch& attention_scratch(int thread) {
  static std::vector<Scratch> scratch(static_cast<size_t>(kernel_threads()));
  return scratch[static_cast<size_t>(thread)];
}

/// The heads of [B, L, heads * dim] one by one, in the arithmetic of encoders.
void attend_in_shorts(const float* q, const float* k, const float* v, const mx::array& queries, const mx::array& keys,
                      int heads, float scale, float* y) {
  const auto& kernels = cpu_kernels();
  const int64_t batch = queries.shape(0), length = queries.shape(1), tokens = keys.shape(1), width = queries.shape(2);
  const int64_t dim = width / heads, most = std::max<int64_t>(1, length / kMinQueries);
  const int64_t wanted = (kHeadsAThread * kernel_threads() + batch * heads - 1) / (batch * heads);
  const int64_t pieces = std::clamp<int64_t>(wanted, 1, most), each = (length + pieces - 1) / pieces;
  const auto bytes = static_cast<size_t>(kernels.i16_attention_scratch(tokens, dim));
  parallel_for(batch * heads * pieces, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t b = item / (heads * pieces), h = item / pieces % heads, first = item % pieces * each;
      const int64_t count = std::min(each, length - first), at = (b * length + first) * width + h * dim;
      const HeadSpan key_span{k + b * tokens * width + h * dim, width, tokens, kFloat32};
      const HeadSpan value_span{v + b * tokens * width + h * dim, width, tokens, kFloat32};
      kernels.i16_attention(&key_span, &value_span, dim, q + at, width, count, scale, y + at, width,
                            attention_scratch(thread).bytes(bytes));
    }
  });
}

}  // namespace

mx::array cpu_head_attention(const mx::array& q, const mx::array& k, const mx::array& v, int heads, float scale) {
  if (q.ndim() != 3 || k.shape() != v.shape() || q.shape(2) != k.shape(2) || q.shape(2) % heads != 0) {
    throw std::invalid_argument("[attention] q, k and v must be [B, tokens, heads * dim]");
  }
  auto compute = [heads, scale, phase = current_phase()](const Arrays& in, Arrays& out) {
    static Scratch q_copy, k_copy, v_copy;
    const int64_t dim = in[0].shape(2) / heads;
    if (encodes(phase)) {
      return attend_in_shorts(row_major(in[0], q_copy), row_major(in[1], k_copy), row_major(in[2], v_copy), in[0],
                              in[1], heads, scale, out[0].data<float>());
    }
    AttentionProblem p{in[0].shape(0), heads, heads, in[0].shape(1), dim, dim, {}, scale, false};
    p.tokens.assign(static_cast<size_t>(p.batch), in[1].shape(1));
    p.q = side_by_side(row_major(in[0], q_copy), in[0], dim);
    p.k.stored = side_by_side(bytes_of(row_major(in[1], k_copy)), in[1], dim);
    p.v.stored = side_by_side(bytes_of(row_major(in[2], v_copy)), in[2], dim);
    p.out = side_by_side(out[0].data<float>(), in[0], dim);
    attend(p, phase);
  };
  return mx::array(q.shape(), mx::float32, cpu_op("CpuHeadAttention", std::move(compute)), {q, k, v});
}

mx::array cpu_by_heads(const mx::array& x, int heads, mx::Dtype type) {
  const int tokens = x.shape(1), dim = x.shape(2) / heads;
  auto compute = [heads, tokens, dim](const Arrays& in, Arrays& out) {
    static Scratch copy;
    const float* from = row_major(in[0], copy);
    const FloatType type = type_of(out[0]);
    const int64_t item = static_cast<int64_t>(out[0].itemsize());
    char* to = out[0].data<char>();
    parallel_for(tokens, grain_of(heads * dim), [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; ++t) {
        for (int64_t h = 0; h < heads; ++h) {
          const float* head = from + (t * heads + h) * dim;
          char* at = to + (h * tokens + t) * dim * item;
          if (type == kFloat32) {
            std::memcpy(at, head, static_cast<size_t>(dim) * sizeof(float));
          } else {
            cpu_kernels().pack_floats(head, dim, type, at);
          }
        }
      }
    });
  };
  return mx::array({1, heads, tokens, dim}, type, cpu_op("CpuByHeads", std::move(compute)), {x});
}

mx::array cpu_cross_attention(const mx::array& q, const std::vector<mx::array>& keys,
                              const std::vector<mx::array>& values, std::vector<int> of, float scale) {
  std::vector<mx::array> inputs{q};
  inputs.insert(inputs.end(), keys.begin(), keys.end());
  inputs.insert(inputs.end(), values.begin(), values.end());
  auto compute = [of = std::move(of), count = keys.size(), scale, phase = current_phase()](const Arrays& in,
                                                                                           Arrays& out) {
    static Scratch copy;
    const int64_t heads = in[1].shape(1), dim = in[1].shape(3);
    AttentionProblem p{in[0].shape(0), heads, heads, in[0].shape(1), dim, dim, {}, scale, false};
    p.q = side_by_side(row_major(in[0], copy), in[0], dim);
    p.out = side_by_side(out[0].data<float>(), in[0], dim);
    const int64_t step = dim * static_cast<int64_t>(in[1].itemsize());
    p.k = {{nullptr, 0, 0, step}, std::nullopt, type_of(in[1])};
    p.v = {{nullptr, 0, 0, step}, std::nullopt, type_of(in[1 + count])};
    for (const int entry : of) {
      const auto& k = in[1 + static_cast<size_t>(entry)];
      p.tokens.push_back(k.shape(2));
      p.k.stored.rows.push_back({k.data<char>(), k.shape(2) * step});
      p.v.stored.rows.push_back({in[1 + count + static_cast<size_t>(entry)].data<char>(), k.shape(2) * step});
    }
    attend(p, phase);
  };
  return mx::array(q.shape(), mx::float32, cpu_op("CpuCrossAttention", std::move(compute)), std::move(inputs));
}

mx::array cpu_cross_scores(const mx::array& q, const mx::array& k, int head, float scale) {
  const int length = q.shape(1), tokens = k.shape(2);
  auto compute = [head, scale, length, tokens](const Arrays& in, Arrays& out) {
    static Scratch copy;
    const int64_t dim = in[1].shape(3), width = in[0].shape(2);
    const float* queries = row_major(in[0], copy);
    const char* keys = in[1].data<char>() + head * tokens * dim * static_cast<int64_t>(in[1].itemsize());
    const HeadSpan span{keys, dim, tokens, type_of(in[1])};
    const int64_t stride = (tokens / cpu_kernels().lanes + 1) * cpu_kernels().lanes;
    float* to = out[0].data<float>();
    parallel_for(length, 1, [&](int64_t begin, int64_t end, int) {
      Scratch scaled, row;
      float* one = scaled.floats(dim);
      float* scores = row.floats(stride);
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t d = 0; d < dim; ++d) one[d] = queries[i * width + head * dim + d] * scale;
        cpu_kernels().key_rows(&span, dim, one, 1, scores, stride);
        std::memcpy(to + i * tokens, scores, static_cast<size_t>(tokens) * sizeof(float));
      }
    });
  };
  return mx::array({length, tokens}, mx::float32, cpu_op("CpuCrossScores", std::move(compute)), {q, k});
}

}  // namespace mlxk
