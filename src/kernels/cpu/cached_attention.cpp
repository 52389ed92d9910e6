#include "kernels/cpu/cached_attention.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "base/error.h"
#include "cpu/attention.h"
#include "cpu/features.h"
#include "cpu/threads.h"
#include "kernels/cpu/rotate_heads.h"
#include "kernels/cpu_op.h"
#include "mlx/ops.h"

namespace mlxk {

namespace {

/// The place of the heads of `a` [B, heads, tokens, dim], in elements.
template <class T = const float>
HeadRows<T> head_rows(const mx::array& a) {
  if (a.strides(3) != 1) throw std::runtime_error("[attention] a token's numbers must be contiguous");
  constexpr int64_t kItem = sizeof(float) / sizeof(T);
  return {reinterpret_cast<T*>(const_cast<float*>(a.data<float>())), a.strides(0) * kItem, a.strides(1) * kItem,
          a.strides(2) * kItem};
}

void check(const mx::array& q, const mx::array& k, const mx::array& v) {
  for (const auto* a : {&q, &k, &v}) {
    if (a->ndim() != 4 || a->dtype() != mx::float32)
      throw std::invalid_argument("[attention] q, k and v must be 4-D float32");
  }
  if (k.shape(1) == 0 || q.shape(1) % k.shape(1) != 0) {
    throw std::invalid_argument("[attention] the heads must be a multiple of the kv heads");
  }
}

/// The indices of a step's optional inputs; -1: absent.
struct Places {
  int q_norm, k_norm, post_rope_q_norm, post_rope_k_norm, rotary_positions, query_scale, sinks, mask;
};

/// A step without its arrays, which the graph holds.
struct Job {
  AttentionStep step;
  size_t buffers;   // number of key buffers; there are as many of values
  bool has_values;  // else values are a part of the keys
  Places at;
  Phase phase;
};

FloatType type_of(const mx::array& buffer) {
  if (buffer.dtype() == mx::float32) return kFloat32;
  return buffer.dtype() == mx::float16 ? kFloat16 : kBFloat16;
}

/// The rows of `count` buffers from `first` on, to be written to: the address of each row's tokens.
HeadRows<char> cache_rows(const Arrays& in, size_t first, size_t count) {
  HeadRows<char> all{nullptr, 0, 0, in[first].shape(3) * static_cast<int64_t>(in[first].itemsize())};
  for (size_t i = first; i < first + count; ++i) {
    const int64_t head_step = in[i].shape(2) * all.token_step;
    char* data = const_cast<char*>(in[i].data<char>());
    for (int row = 0; row < in[i].shape(0); ++row)
      all.rows.push_back({data + row * in[i].shape(1) * head_step, head_step});
  }
  return all;
}

HeadRows<const char> constant(const HeadRows<char>& from) {
  HeadRows<const char> to{from.data, from.batch, from.head_step, from.token_step};
  for (const auto& row : from.rows) to.rows.push_back({row.data, row.head_step});
  return to;
}

/// The call's keys or values [B, L, kv_heads, dim] in the buffers' type.
HeadRows<const char> fresh_rows(const float* x, int64_t tokens, int64_t length, int64_t kv_heads, int64_t dim,
                                FloatType type, Scratch& storage) {
  const int64_t item = type == kFloat32 ? 4 : 2, width = kv_heads * dim;
  const char* data = reinterpret_cast<const char*>(x);
  if (type != kFloat32) {
    auto* packed = static_cast<uint16_t*>(storage.bytes(static_cast<size_t>(tokens * width) * sizeof(uint16_t)));
    parallel_for(tokens, grain_of(width), [&](int64_t begin, int64_t end, int) {
      cpu_kernels().pack_floats(x + begin * width, (end - begin) * width, type, packed + begin * width);
    });
    data = reinterpret_cast<const char*>(packed);
  }
  return {data, length * width * item, dim * item, width * item};
}

/// Writes the valid tokens of the call to their slots.
void store(const AttentionStep& step, const AttentionProblem& p, const HeadRows<const char>& fresh,
           const HeadRows<char>& to) {
  const int64_t newest = p.ring > 0 ? p.ring - p.keep : p.length;  // of a long run only the last `window` tokens stay
  parallel_for(p.batch * p.length, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t b = t / p.length, i = t % p.length, length = step.lengths[static_cast<size_t>(b)];
      const int64_t position = step.positions[static_cast<size_t>(b)] + i;
      if (i >= length || (i < length - newest && position >= p.keep)) continue;
      for (int64_t h = 0; h < p.kv_heads; ++h) {
        std::memcpy(to.at(b, h, p.slot_of(position)), fresh.at(b, h, i), static_cast<size_t>(to.token_step));
      }
    }
  });
}

std::vector<int> rotary_positions(const AttentionStep& step, const mx::array* given, int64_t length) {
  if (!given) return consecutive_positions(step.positions, length);
  static Scratch copy;
  const int32_t* first = row_major_int(*given, copy);
  return {first, first + given->size()};
}

void set_mask(AttentionProblem& p, const mx::array& mask) {
  p.mask = mask.data<void>();
  p.mask_is_bool = mask.dtype() == mx::bool_;
  for (int d = 0; d < 4; ++d) p.mask_steps[d] = mask.shape(d) == 1 ? 0 : mask.strides(d);
}

/// `in`: q, k, v, the buffers of keys, those of values, the arrays that Places names; `out`: the result, and the
/// buffers of one row.
void run_step(const Job& job, const Arrays& in, Arrays& out) {
  static Scratch q_copy, k_copy, v_copy, turned_q, turned_k, packed_k, packed_v;
  const AttentionStep& step = job.step;
  const int64_t batch = in[0].shape(0), length = in[0].shape(1), dim = step.head_dim;
  const int64_t heads = in[0].shape(2) / dim, kv_heads = in[3].shape(1);
  const int64_t value_dim = step.value_dim > 0 ? step.value_dim : dim;
  if (batch == 0 || length == 0) return;
  const auto array_at = [&](int place) { return place < 0 ? nullptr : &in[static_cast<size_t>(place)]; };
  const auto floats_at = [&](int place) { return place < 0 ? nullptr : in[static_cast<size_t>(place)].data<float>(); };
  const auto eps_of = [](const std::optional<NormWeights>& norm) { return norm ? norm->eps : 0.0F; };

  std::optional<CosSinTable> turn;
  if (step.rotation.pairs() > 0) {
    turn =
        cos_sin_table(step.rotation, rotary_positions(step, array_at(job.at.rotary_positions), length), batch, length);
  }
  const CosSinTable* angles = turn ? &*turn : nullptr;
  const bool pairs = step.rotation.traditional;
  float *queries = turned_q.floats(batch * length * heads * dim),
        *keys = turned_k.floats(batch * length * kv_heads * dim);
  rotate_heads(row_major(in[0], q_copy), batch * length, heads, dim, {floats_at(job.at.q_norm), eps_of(step.q_norm)},
               angles, pairs, {floats_at(job.at.post_rope_q_norm), eps_of(step.post_rope_q_norm)}, queries);
  if (!step.reads) {
    rotate_heads(row_major(in[1], k_copy), batch * length, kv_heads, dim,
                 {floats_at(job.at.k_norm), eps_of(step.k_norm)}, angles, pairs,
                 {floats_at(job.at.post_rope_k_norm), eps_of(step.post_rope_k_norm)}, keys);
  }

  AttentionProblem p{batch, heads, kv_heads, length, dim, value_dim, {}, step.scale, job.at.mask < 0};
  // Row b's queries are its last L tokens as if all L were valid: those past its length see garbage that nobody reads.
  for (const int first : step.positions) p.tokens.push_back(first + length);
  p.q = {queries, length * heads * dim, dim, heads * dim};
  p.out = {out[0].data<float>(), length * heads * value_dim, value_dim, heads * value_dim};
  p.soft_cap = step.soft_cap;
  p.window = step.window;
  p.keep = step.keep;
  p.ring = step.ring ? step.window : 0;
  p.sinks = floats_at(job.at.sinks);
  static Scratch scale_copy;
  if (job.at.query_scale >= 0) p.query_scales = row_major(*array_at(job.at.query_scale), scale_copy);
  if (p.query_scales) p.query_scale_row = array_at(job.at.query_scale)->shape(0) == 1 ? 0 : length;
  if (job.at.mask >= 0) set_mask(p, *array_at(job.at.mask));

  const FloatType type = type_of(in[3]);
  const auto key_rows = cache_rows(in, 3, job.buffers);
  const auto value_rows = job.has_values ? cache_rows(in, 3 + job.buffers, job.buffers) : key_rows;
  p.k = {constant(key_rows), std::nullopt, type};
  p.v = {constant(value_rows), std::nullopt, type};
  if (step.reads) return attend(p, job.phase);
  const auto fresh_k = fresh_rows(keys, batch * length, length, kv_heads, dim, type, packed_k);
  const auto fresh_v =
      job.has_values ? fresh_rows(row_major(in[2], v_copy), batch * length, length, kv_heads, value_dim, type, packed_v)
                     : fresh_k;
  const auto store_all = [&] {
    store(step, p, fresh_k, key_rows);
    if (job.has_values) store(step, p, fresh_v, value_rows);
  };
  // Several tokens written to a ring must not overwrite keys that the first of them see.
  if (p.ring == 0 || length == 1) {
    store_all();
    return attend(p, job.phase);
  }
  p.k.fresh = fresh_k;
  p.v.fresh = fresh_v;
  attend(p, job.phase);
  store_all();
}

void check_mask(const mx::array& mask, const AttentionStep& step, const mx::array& q) {
  const int length = q.shape(1), tokens = *std::max_element(step.positions.begin(), step.positions.end()) + length;
  const mx::Shape most{q.shape(0), q.shape(2) / step.head_dim, length};
  bool fits = mask.ndim() == 4 && mask.shape(3) >= tokens;
  for (int d = 0; fits && d < 3; ++d) fits = mask.shape(d) == most[d] || (d < 2 && mask.shape(d) == 1);
  if (!fits) {
    throw Error(ErrorKind::invalid,
                fmt::format("[attention] a mask of {} queries and {} keys must be [{} or 1, {} or 1, {}, {}], got [{}]",
                            length, tokens, most[0], most[1], length, tokens, fmt::join(mask.shape(), ", ")));
  }
}

}  // namespace

mx::array cpu_attention(const mx::array& q, const mx::array& k, const mx::array& v, float scale,
                        const std::string& mode, const std::optional<mx::array>& mask) {
  check(q, k, v);
  std::vector<mx::array> inputs{q, k, v};
  if (mask) inputs.push_back(*mask);
  auto compute = [scale, causal = mode == "causal", phase = current_phase()](const Arrays& in, Arrays& out) {
    AttentionProblem problem{in[0].shape(0), in[0].shape(1), in[1].shape(1),
                             in[0].shape(2), in[0].shape(3), in[2].shape(3)};
    problem.scale = scale;
    problem.causal = causal;
    problem.q = head_rows(in[0]);
    problem.k.stored = head_rows<const char>(in[1]);
    problem.v.stored = head_rows<const char>(in[2]);
    problem.tokens.assign(static_cast<size_t>(problem.batch), in[1].shape(2));
    problem.out = {out[0].data<float>(), out[0].strides(0), out[0].strides(1), out[0].strides(2)};
    if (in.size() > 3) set_mask(problem, in[3]);
    attend(problem, phase);
  };
  mx::Shape shape = q.shape();
  shape[3] = v.shape(3);
  return mx::array(std::move(shape), mx::float32, cpu_op("CpuAttention", std::move(compute)), std::move(inputs));
}

AttentionResult cpu_cached_attention(AttentionStep step, const std::vector<mx::array>& keys,
                                     const std::vector<mx::array>& values) {
  std::vector<mx::array> inputs{step.q, step.k, step.v};
  inputs.insert(inputs.end(), keys.begin(), keys.end());
  inputs.insert(inputs.end(), values.begin(), values.end());
  std::vector<mx::Shape> shapes{step.q.shape()};
  if (step.value_dim > 0) shapes[0][2] = step.q.shape(2) / step.head_dim * step.value_dim;
  std::vector<std::pair<int, int>> aliases;
  // Several buffers are not results of the operation: each result would refer to all others, which costs libmlx more
  // than the rest of a step's graph. Later uses of them are ordered by the CPU's single stream.
  const bool gives_buffers = keys.size() == 1 && !step.reads;
  for (size_t i = 3; gives_buffers && i < inputs.size(); ++i) {
    shapes.push_back(inputs[i].shape());
    aliases.emplace_back(i - 2, i);
  }
  Job job{std::move(step), keys.size(), !values.empty(), {}, current_phase()};
  // The job must not keep the graph's arrays alive.
  const auto add = [&](std::optional<mx::array>& array) {
    if (!array) return -1;
    inputs.push_back(*array);
    array.reset();
    return static_cast<int>(inputs.size()) - 1;
  };
  const mx::array nothing(0.0F);
  const auto add_norm = [&](std::optional<NormWeights>& norm) {
    if (!norm) return -1;
    inputs.push_back(std::exchange(norm->weight, nothing));
    return static_cast<int>(inputs.size()) - 1;
  };
  AttentionStep& s = job.step;
  s.q = s.k = s.v = nothing;
  if (s.mask) check_mask(*s.mask, s, inputs[0]);
  if (s.mask && s.mask->dtype() != mx::bool_) s.mask = mx::astype(*s.mask, mx::float32);
  job.at = {add_norm(s.q_norm),
            add_norm(s.k_norm),
            add_norm(s.post_rope_q_norm),
            add_norm(s.post_rope_k_norm),
            add(s.rotary_positions),
            add(s.query_scale),
            add(s.sinks),
            add(s.mask)};
  auto compute = [job = std::move(job)](const Arrays& in, Arrays& out) { run_step(job, in, out); };
  std::vector<mx::Dtype> types(shapes.size(), keys.front().dtype());
  types[0] = mx::float32;
  auto outputs = mx::array::make_arrays(std::move(shapes), types,
                                        cpu_op("CpuCachedAttention", std::move(compute), std::move(aliases)), inputs);
  if (!gives_buffers) return {outputs[0], keys, values};
  if (values.empty()) return {outputs[0], {outputs[1]}, {}};
  return {outputs[0], {outputs[1]}, {outputs[2]}};
}

}  // namespace mlxk
