#include "kernels/cpu/packed_attention.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "cpu/attention.h"
#include "cpu/features.h"
#include "cpu/phase.h"
#include "cpu/threads.h"
#include "kernels/cpu/rotate_heads.h"
#include "kernels/cpu_op.h"
#include "mlx/ops.h"

namespace mlxk {

namespace {

// Queries of one head that a thread processes at a time: enough to repay packing keys and values into panels.
constexpr int64_t kQueriesAtOnce = 192;

/// A PackedAttention without its arrays, which the graph holds: indices of q, k, v and the inputs named here; -1:
/// absent.
struct Job {
  PackedAttention attention;
  int q_norm, k_norm, distance_bias;
  Phase phase;
};

struct Sequence {
  int64_t first, length, attended;  // tokens
};

/// Whether every token of a sequence sees all others, with no bias.
bool sees_all(const Job& job, int64_t length) {
  const PackedAttention& a = job.attention;
  return !a.causal && job.distance_bias < 0 && (a.window == 0 || a.window >= length);
}

Scratch& thread_scratch(int thread) {
  static std::vector<Scratch> scratch(static_cast<size_t>(kernel_threads()));
  return scratch[static_cast<size_t>(thread)];
}

/// The heads of sequences without masks, one by one, in the arithmetic of encoders.
void attend_in_shorts(const std::vector<Sequence>& sequences, const float* q, const float* k, const float* v,
                      int64_t heads, int64_t kv_heads, int64_t dim, float scale, float* y) {
  struct Piece {
    int64_t sequence, first, count;
  };
  std::vector<Piece> pieces;
  int64_t longest = 0, cost = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    const int64_t length = sequences[s].length, parts = std::max<int64_t>(1, length / kQueriesAtOnce);
    const int64_t each = (length + parts - 1) / parts;
    for (int64_t i = 0; i < length; i += each)
      pieces.push_back({static_cast<int64_t>(s), i, std::min(each, length - i)});
    longest = std::max(longest, length);
    cost += length * length * dim;
  }
  if (pieces.empty()) return;
  const auto& kernels = cpu_kernels();
  const int64_t width = heads * dim, kv_width = kv_heads * dim, items = static_cast<int64_t>(pieces.size()) * heads;
  const auto bytes = static_cast<size_t>(kernels.i16_attention_scratch(longest, dim));
  parallel_for(items, grain_of(cost / static_cast<int64_t>(pieces.size())), [&](int64_t item, int64_t end, int thread) {
    void* scratch = thread_scratch(thread).bytes(bytes);
    for (; item < end; ++item) {
      const Piece& piece = pieces[static_cast<size_t>(item / heads)];
      const Sequence& sequence = sequences[static_cast<size_t>(piece.sequence)];
      const int64_t h = item % heads, kv = sequence.first * kv_width + h / (heads / kv_heads) * dim;
      const int64_t at = (sequence.first + piece.first) * width + h * dim;
      const HeadSpan keys{k + kv, kv_width, sequence.attended, kFloat32};
      const HeadSpan values{v + kv, kv_width, sequence.attended, kFloat32};
      kernels.i16_attention(&keys, &values, dim, q + at, width, piece.count, scale, y + at, width, scratch);
    }
  });
}

template <class T>
HeadRows<T> rows_of(const std::vector<Sequence>& sequences, T* data, int64_t width, int64_t dim) {
  const int64_t item = sizeof(float) / sizeof(T);
  HeadRows<T> rows{data, 0, 0, width * item};
  for (const Sequence& s : sequences) rows.rows.push_back({data + s.first * width * item, dim * item});
  return rows;
}

void attend_in_floats(const Job& job, const std::vector<Sequence>& sequences, const float* q, const float* k,
                      const float* v, int64_t heads, int64_t kv_heads, const float* bias, int64_t distances, float* y) {
  if (sequences.empty()) return;
  const PackedAttention& a = job.attention;
  const int64_t dim = a.head_dim;
  AttentionProblem p{static_cast<int64_t>(sequences.size()), heads, kv_heads, 0, dim, dim, {}, a.scale, a.causal};
  for (const Sequence& s : sequences) {
    p.tokens.push_back(s.attended);
    p.lengths.push_back(s.length);
    p.length = std::max(p.length, s.length);
  }
  p.window = a.window;
  p.distance_bias = bias;
  p.distances = distances;
  p.q = rows_of(sequences, q, heads * dim, dim);
  p.k.stored = rows_of(sequences, reinterpret_cast<const char*>(k), kv_heads * dim, dim);
  p.v.stored = rows_of(sequences, reinterpret_cast<const char*>(v), kv_heads * dim, dim);
  p.out = rows_of(sequences, y, heads * dim, dim);
  attend(p, job.phase);
}

void run(const Job& job, const Arrays& in, Arrays& out) {
  static Scratch q_copy, k_copy, v_copy, turned_q, turned_k;
  const PackedAttention& a = job.attention;
  const int64_t dim = a.head_dim, heads = in[0].shape(-1) / dim, kv_heads = in[1].shape(-1) / dim;
  const float *q = row_major(in[0], q_copy), *k = row_major(in[1], k_copy), *v = row_major(in[2], v_copy);
  std::vector<Sequence> plain, others;
  std::vector<int> positions;
  int64_t tokens = 0;
  for (size_t s = 0; s < a.lengths.size(); ++s) {
    const int length = a.lengths[s], attended = a.attended.empty() ? length : a.attended[s];
    (encodes(job.phase) && sees_all(job, length) ? plain : others).push_back({tokens, length, attended});
    for (int i = 0; i < length; ++i) positions.push_back(i);
    tokens += length;
  }
  if (tokens == 0) return;
  const auto floats_at = [&](int place) { return place < 0 ? nullptr : in[static_cast<size_t>(place)].data<float>(); };
  std::optional<CosSinTable> turn;
  if (a.rotation.pairs() > 0) turn = cos_sin_table(a.rotation, positions, 1, tokens);
  const auto turned = [&](const float* x, int64_t count, int norm, const std::optional<NormWeights>& of, Scratch& to) {
    if (!turn && norm < 0) return x;
    float* y = to.floats(tokens * count * dim);
    rotate_heads(x, tokens, count, dim, {floats_at(norm), of ? of->eps : 0}, turn ? &*turn : nullptr,
                 a.rotation.traditional, {nullptr, 0}, y);
    return static_cast<const float*>(y);
  };
  q = turned(q, heads, job.q_norm, a.q_norm, turned_q);
  k = turned(k, kv_heads, job.k_norm, a.k_norm, turned_k);
  auto* y = out[0].data<float>();
  attend_in_shorts(plain, q, k, v, heads, kv_heads, dim, a.scale, y);
  const int64_t distances = job.distance_bias < 0 ? 0 : in[static_cast<size_t>(job.distance_bias)].shape(1) / 2;
  attend_in_floats(job, others, q, k, v, heads, kv_heads, floats_at(job.distance_bias), distances, y);
}

}  // namespace

void attend_whole(const std::vector<int>& lengths, const std::vector<int>& attended, const float* q, const float* k,
                  const float* v, int64_t heads, int64_t kv_heads, int64_t dim, float scale, float* y) {
  std::vector<Sequence> sequences;
  int64_t first = 0;
  for (size_t s = 0; s < lengths.size(); first += lengths[s++])
    sequences.push_back({first, lengths[s], attended.empty() ? lengths[s] : attended[s]});
  attend_in_shorts(sequences, q, k, v, heads, kv_heads, dim, scale, y);
}

mx::array cpu_packed_attention(PackedAttention attention) {
  const mx::array q = attention.q;
  std::vector<mx::array> inputs{attention.q, attention.k, attention.v};
  const int64_t dim = attention.head_dim, tokens = static_cast<int64_t>(q.size()) / std::max(q.shape(-1), 1);
  const bool fits = dim > 0 && q.shape(-1) % dim == 0 && inputs[1].shape() == inputs[2].shape() &&
                    inputs[1].shape(-1) % dim == 0 && q.shape(-1) % std::max(inputs[1].shape(-1), 1) == 0 &&
                    std::accumulate(attention.lengths.begin(), attention.lengths.end(), int64_t{0}) == tokens &&
                    (attention.attended.empty() || attention.attended.size() == attention.lengths.size());
  if (!fits) throw std::invalid_argument("[attention] heads and lengths must be those of q, k and v");
  const mx::array nothing(0.0F);  // the job must not keep the graph's arrays alive
  attention.q = attention.k = attention.v = nothing;
  const auto add = [&](const mx::array& array) {
    inputs.push_back(array);
    return static_cast<int>(inputs.size()) - 1;
  };
  const auto add_norm = [&](std::optional<NormWeights>& norm) {
    return norm ? add(std::exchange(norm->weight, nothing)) : -1;
  };
  Job job{std::move(attention), -1, -1, -1, current_phase()};
  job.q_norm = add_norm(job.attention.q_norm);
  job.k_norm = add_norm(job.attention.k_norm);
  if (job.attention.distance_bias) job.distance_bias = add(mx::contiguous(*job.attention.distance_bias));
  job.attention.distance_bias.reset();
  auto compute = [job = std::move(job)](const Arrays& in, Arrays& out) { run(job, in, out); };
  return mx::array(q.shape(), mx::float32, cpu_op("CpuPackedAttention", std::move(compute)), std::move(inputs));
}

}  // namespace mlxk
