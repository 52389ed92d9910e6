#include "kernels/cpu_attention.h"

#include <cmath>
#include <cstring>
#include <stdexcept>

#include "kernels/attention.h"
#include "kernels/cpu_features.h"
#include "kernels/cpu_op.h"
#include "kernels/threads.h"

namespace mlxk {

namespace {

/// Where the heads of `a` [B, heads, tokens, dim] lie, in elements.
template <class T = const float>
HeadRows<T> head_rows(const mx::array& a) {
  if (a.strides(3) != 1) throw std::runtime_error("[attention] a token's numbers must be contiguous");
  constexpr int64_t kItem = sizeof(float) / sizeof(T);
  return {reinterpret_cast<T*>(const_cast<float*>(a.data<float>())), a.strides(0) * kItem, a.strides(1) * kItem, a.strides(2) * kItem};
}

void check(const mx::array& q, const mx::array& k, const mx::array& v) {
  for (const auto* a : {&q, &k, &v}) {
    if (a->ndim() != 4 || a->dtype() != mx::float32) throw std::invalid_argument("[attention] q, k and v must be 4-D float32");
  }
  if (k.shape(1) == 0 || q.shape(1) % k.shape(1) != 0) {
    throw std::invalid_argument("[attention] the heads must be a multiple of the kv heads");
  }
}

/// cos and sin of every position's angles: [tokens, steps, 2]. The layers of a model ask for the same ones in turn.
const float* turns(const std::vector<float>& steps, const std::vector<int>& positions, int64_t length) {
  struct Table {
    std::vector<float> steps, values;
    std::vector<int> positions;
    int64_t length = 0;
  };
  static Table tables[2];  // models with local and global layers alternate between two
  static int newest = 0;
  for (auto& table : tables) {
    if (table.length == length && table.positions == positions && table.steps == steps) return table.values.data();
  }
  Table& table = tables[newest = 1 - newest];
  table.steps = steps;
  table.positions = positions;
  table.length = length;
  table.values.resize(positions.size() * static_cast<size_t>(length) * steps.size() * 2);
  const auto tokens = static_cast<int64_t>(positions.size()) * length;
  parallel_for(tokens, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const auto position = static_cast<float>(positions[static_cast<size_t>(t / length)] + t % length);
      float* out = table.values.data() + t * static_cast<int64_t>(steps.size()) * 2;
      for (size_t i = 0; i < steps.size(); ++i) {
        out[2 * i] = std::cos(position * steps[i]);
        out[2 * i + 1] = std::sin(position * steps[i]);
      }
    }
  });
  return table.values.data();
}

/// One head: normed, rotated.
void turn_head(const float* x, const float* norm, float eps, const CpuRotation& rotation, const float* turn, int head_dim,
               float* out) {
  const auto pairs = static_cast<int>(rotation.steps.size());
  if (norm) {
    cpu_kernels().rms_norm(x, norm, eps, head_dim, out);
  } else {
    std::memcpy(out, x, sizeof(float) * static_cast<size_t>(head_dim));
  }
  for (int i = 0; i < pairs; ++i) {
    float& first = out[rotation.traditional ? 2 * i : i];
    float& second = out[rotation.traditional ? 2 * i + 1 : i + pairs];
    const float a = first * rotation.input_scale, b = second * rotation.input_scale;
    first = a * turn[2 * i] - b * turn[2 * i + 1];
    second = a * turn[2 * i + 1] + b * turn[2 * i];
  }
}

/// The rows of `count` buffers from `first` on: where each row's tokens begin.
HeadRows<float> cache_rows(Arrays& buffers, size_t first, size_t count, int64_t kv_heads, int64_t dim) {
  HeadRows<float> all{nullptr, 0, 0, dim};
  for (size_t i = first; i < first + count; ++i) {
    const int64_t head_step = buffers[i].shape(2) * dim;
    for (int row = 0; row < buffers[i].shape(0); ++row) {
      all.rows.push_back({buffers[i].data<float>() + row * kv_heads * head_step, head_step});
    }
  }
  return all;
}

KeyRows stored(const HeadRows<float>& from) {
  constexpr int64_t kItem = sizeof(float);
  HeadRows<const char> to{nullptr, 0, 0, from.token_step * kItem};
  for (const auto& row : from.rows) to.rows.push_back({reinterpret_cast<const char*>(row.data), row.head_step * kItem});
  return {to, std::nullopt, kFloat32};
}

/// `in`: q, k, v, the buffers of keys, those of values, norms; `out`: the result and the buffers.
void run_step(const CpuAttentionStep& step, const Arrays& in, Arrays& out, size_t buffers, int q_norm, int k_norm,
              Phase phase) {
  static Scratch q_copy, k_copy, v_copy, turned;
  const int64_t batch = in[0].shape(0), length = in[0].shape(1), dim = step.head_dim;
  const int64_t heads = in[0].shape(2) / dim, kv_heads = in[1].shape(2) / dim;
  const float *q = row_major(in[0], q_copy), *k = row_major(in[1], k_copy), *v = row_major(in[2], v_copy);
  const auto keys = cache_rows(out, 1, buffers, kv_heads, dim), values = cache_rows(out, 1 + buffers, buffers, kv_heads, dim);
  const auto norm_of = [&](int i) { return i < 0 ? nullptr : in[static_cast<size_t>(i)].data<float>(); };
  const float *q_factor = norm_of(q_norm), *k_factor = norm_of(k_norm);
  const float q_eps = step.q_norm ? step.q_norm->eps : 0, k_eps = step.k_norm ? step.k_norm->eps : 0;
  const auto pairs = static_cast<int64_t>(step.rotation.steps.size());
  const float* turn = pairs > 0 ? turns(step.rotation.steps, step.positions, length) : nullptr;
  float* queries = turned.floats(batch * length * heads * dim);
  parallel_for(batch * length, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const auto b = static_cast<size_t>(t / length);
      const float* angles = turn + t * pairs * 2;
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t at = (t * heads + h) * dim;
        turn_head(q + at, q_factor, q_eps, step.rotation, angles, step.head_dim, queries + at);
      }
      if (t % length >= step.lengths[b]) continue;
      for (int64_t h = 0; h < kv_heads; ++h) {
        const int64_t from = (t * kv_heads + h) * dim;
        const auto row = static_cast<int64_t>(b), slot = step.slots[b] + t % length;
        turn_head(k + from, k_factor, k_eps, step.rotation, angles, step.head_dim, keys.at(row, h, slot));
        std::memcpy(values.at(row, h, slot), v + from, sizeof(float) * static_cast<size_t>(dim));
      }
    }
  });
  AttentionProblem problem{batch, heads, kv_heads, length, dim, dim, {}, step.scale, true};
  problem.q = {queries, length * heads * dim, dim, heads * dim};
  problem.k = stored(keys);
  problem.v = stored(values);
  problem.out = {out[0].data<float>(), length * heads * dim, dim, heads * dim};
  // Row b's queries are its last L tokens as if all L were kept: those past its length see garbage that nobody reads.
  for (size_t b = 0; b < step.tokens.size(); ++b) {
    problem.tokens.push_back(step.tokens[b] + length - step.lengths[b]);
  }
  attend(problem, phase);
}

}  // namespace

mx::array cpu_attention(const mx::array& q, const mx::array& k, const mx::array& v, float scale, const std::string& mode,
                        const std::optional<mx::array>& mask) {
  check(q, k, v);
  std::vector<mx::array> inputs{q, k, v};
  if (mask) inputs.push_back(*mask);
  auto compute = [scale, causal = mode == "causal", phase = current_phase()](const Arrays& in, Arrays& out) {
    AttentionProblem problem{in[0].shape(0), in[0].shape(1), in[1].shape(1), in[0].shape(2), in[0].shape(3), in[2].shape(3)};
    problem.scale = scale;
    problem.causal = causal;
    problem.q = head_rows(in[0]);
    problem.k.stored = head_rows<const char>(in[1]);
    problem.v.stored = head_rows<const char>(in[2]);
    problem.tokens.assign(static_cast<size_t>(problem.batch), in[1].shape(2));
    problem.out = {out[0].data<float>(), out[0].strides(0), out[0].strides(1), out[0].strides(2)};
    if (in.size() > 3) {
      problem.mask = in[3].data<void>();
      problem.mask_is_bool = in[3].dtype() == mx::bool_;
      for (int d = 0; d < 4; ++d) problem.mask_steps[d] = in[3].shape(d) == 1 ? 0 : in[3].strides(d);
    }
    if (in[1].shape(2) > 0) attend(problem, phase);
  };
  mx::Shape shape = q.shape();
  shape[3] = v.shape(3);
  return mx::array(std::move(shape), mx::float32, cpu_op("CpuAttention", std::move(compute)), std::move(inputs));
}

CpuAttended cpu_cached_attention(CpuAttentionStep step, const std::vector<mx::array>& keys,
                                 const std::vector<mx::array>& values) {
  std::vector<mx::array> inputs{step.q, step.k, step.v};
  inputs.insert(inputs.end(), keys.begin(), keys.end());
  inputs.insert(inputs.end(), values.begin(), values.end());
  std::vector<mx::Shape> shapes{step.q.shape()};
  std::vector<std::pair<int, int>> aliases;
  for (size_t i = 3; i < inputs.size(); ++i) {
    shapes.push_back(inputs[i].shape());
    aliases.emplace_back(i - 2, i);
  }
  const auto add = [&](const std::optional<CpuNorm>& norm) {
    if (!norm) return -1;
    inputs.push_back(norm->weight);
    return static_cast<int>(inputs.size()) - 1;
  };
  const int q_norm = add(step.q_norm), k_norm = add(step.k_norm);
  // The step must not keep the graph's arrays alive.
  step.q = step.k = step.v = mx::array(0.0F);
  if (step.q_norm) step.q_norm->weight = step.q;
  if (step.k_norm) step.k_norm->weight = step.q;
  auto compute = [step = std::move(step), buffers = keys.size(), q_norm, k_norm, phase = current_phase()](
                     const Arrays& in, Arrays& out) { run_step(step, in, out, buffers, q_norm, k_norm, phase); };
  const std::vector<mx::Dtype> types(shapes.size(), mx::float32);
  auto outputs = mx::array::make_arrays(std::move(shapes), types,
                                        cpu_op("CpuCachedAttention", std::move(compute), std::move(aliases)), inputs);
  const auto first = outputs.begin() + 1, middle = first + static_cast<int64_t>(keys.size());
  return {outputs[0], {first, middle}, {middle, outputs.end()}};
}

}  // namespace mlxk
