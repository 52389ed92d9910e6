#include "nn/blocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/cpu_attention.h"
#include "kernels/cpu_head_attention.h"
#include "mlx/fast.h"
#include "mlx/ops.h"
#include "nn/cache/batched_cache.h"
#include "nn/cache/buffer.h"

namespace mlxk {
namespace {

// [B, L, heads * head_dim] → [B, L, heads, head_dim]
mx::array heads_of(const mx::array& x, int head_dim) { return mx::unflatten(x, -1, {-1, head_dim}); }

// [B, L, heads, head_dim] → [B, heads, L, head_dim]
mx::array heads_first(const mx::array& x) { return mx::transpose(x, {0, 2, 1, 3}); }

mx::array constant(double value, const mx::array& like) { return mx::array(static_cast<float>(value), like.dtype()); }

mx::array add_residual(const mx::array& x, const mx::array& residual, float multiplier) {
  mx::array scaled = multiplier == 1 ? x : mx::multiply(x, constant(multiplier, x));
  return mx::add(residual, scaled);
}

template <class N>
std::optional<CpuNorm> cpu(const std::optional<N>& norm) {
  return norm ? std::optional(norm->cpu()) : std::nullopt;
}

/// The CPU's form of a block's weights, made at its first call; null where a weight has none.
const std::shared_ptr<const CpuLayer>& cpu(std::shared_ptr<const CpuLayer>& layer,
                                           const std::vector<const Linear*>& linears,
                                           const std::optional<CpuNorm>& norm,
                                           const std::optional<RmsNorm>& post_norm) {
  if (layer || !cpu_is_default()) return layer;
  std::vector<CpuMatrix> matrices;
  for (const Linear* linear : linears) {
    auto matrix = linear->cpu();
    if (!matrix) return layer;
    matrices.push_back(*matrix);
  }
  layer = cpu_layer(std::move(matrices), norm, cpu(post_norm));
  return layer;
}

}  // namespace

mx::array activate(Activation activation, const mx::array& x) {
  if (cpu_is_default() && x.dtype() == mx::float32) return cpu_activate(x, static_cast<int>(activation));
  switch (activation) {
    case Activation::silu: return mx::multiply(x, mx::sigmoid(x));
    case Activation::gelu: {
      mx::array erf = mx::erf(mx::multiply(x, constant(1 / std::sqrt(2.0), x)));
      return mx::multiply(mx::multiply(x, constant(0.5, x)), mx::add(constant(1, x), erf));
    }
    case Activation::gelu_tanh: {
      mx::array cube = mx::multiply(mx::multiply(x, x), x);
      mx::array inner =
          mx::multiply(constant(std::sqrt(2 / M_PI), x), mx::add(x, mx::multiply(constant(0.044715, x), cube)));
      return mx::multiply(mx::multiply(x, constant(0.5, x)), mx::add(constant(1, x), mx::tanh(inner)));
    }
  }
  throw Error(ErrorKind::internal, "[activation] not known");
}

Qkv NormQkv::operator()(const mx::array& x) const {
  if (cpu(layer, {&q, &k, &v}, cpu(norm), std::nullopt)) {
    std::vector<mx::array> parts = cpu_matmuls(x, layer);
    return {parts[0], parts[1], parts[2], head_dim, q_norm, k_norm};
  }
  mx::array in = norm ? (*norm)(x) : x;
  return {q(in), k(in), v(in), head_dim, q_norm, k_norm};
}

mx::array Attention::operator()(const Qkv& qkv, AttentionCache& cache, const AttentionMask& mask,
                                const Positions& positions, const std::optional<mx::array>& query_scale) const {
  if (cpu_is_default() && cache.has_slots(positions)) return on_cpu(qkv, cache, mask, positions, query_scale);
  if (auto* joined = dynamic_cast<BatchedAttentionCache*>(&cache)) {
    // Each row as it would be alone, to the bit: what libmlx computes may depend on the shape of the whole.
    return joined->by_rows(positions, [&](AttentionCache& part, int row, const Positions& at) {
      Qkv own = qkv;
      for (mx::array* x : {&own.q, &own.k, &own.v}) *x = row_of(*x, row);
      const bool scaled = query_scale && query_scale->shape(0) > 1;
      return (*this)(own, part, part.mask(at), at, scaled ? row_of(*query_scale, row) : query_scale);
    });
  }
  auto split = [&](const mx::array& x, const std::optional<RmsNorm>& norm) {
    mx::array heads = heads_of(x, qkv.head_dim);
    return heads_first(norm ? (*norm)(heads) : heads);
  };
  mx::array q = split(qkv.q, qkv.q_norm), k = split(qkv.k, qkv.k_norm), v = split(qkv.v, std::nullopt);
  if (rope) {
    q = (*rope)(q, positions);
    k = (*rope)(k, positions);
  }
  if (q_norm) q = (*q_norm)(q);
  if (k_norm) k = (*k_norm)(k);
  if (query_scale) q = mx::multiply(q, mx::astype(*query_scale, q.dtype()));
  mx::array out = cache.attend(q, k, v, scale, mask, positions);
  return mx::flatten(mx::transpose(out, {0, 2, 1, 3}), 2, 3);
}

mx::array Attention::on_cpu(const Qkv& qkv, AttentionCache& cache, const AttentionMask& mask,
                            const Positions& positions, const std::optional<mx::array>& query_scale) const {
  CpuAttentionStep step{qkv.q, qkv.k, qkv.v, qkv.head_dim, scale, positions.offsets, positions.lengths};
  if (rope) step.rotation = rope->cpu(positions);
  step.q_norm = cpu(qkv.q_norm);
  step.k_norm = cpu(qkv.k_norm);
  step.post_rope_q_norm = cpu(q_norm);
  step.post_rope_k_norm = cpu(k_norm);
  step.rotary_positions = positions.given;
  step.query_scale = query_scale;
  if (mask.given) step.mask = mask.array;
  const auto slots = cache.reserve_slots(positions, qkv.k.shape(2) / qkv.head_dim, qkv.head_dim);
  step.window = slots.window;
  step.keep = slots.keep;
  step.ring = slots.window > 0;
  const auto all = [](const std::vector<mx::array*>& buffers) {
    std::vector<mx::array> arrays;
    for (const mx::array* buffer : buffers) arrays.push_back(*buffer);
    return arrays;
  };
  CpuAttended attended = cpu_cached_attention(std::move(step), all(slots.keys), all(slots.values));
  for (size_t i = 0; i < attended.keys.size(); ++i) {
    *slots.keys[i] = attended.keys[i];
    *slots.values[i] = attended.values[i];
  }
  return attended.out;
}

mx::array OutResidual::operator()(const mx::array& x, const mx::array& residual) const {
  if (cpu(layer, {&out}, std::nullopt, norm)) return cpu_matmul_residual(x, layer, multiplier, residual);
  mx::array y = out(x);
  return add_residual(norm ? (*norm)(y) : y, residual, multiplier);
}

Activation read_activation(const std::string& name) {
  if (name == "silu" || name == "swish") return Activation::silu;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new" || name == "gelu_approx") return Activation::gelu_tanh;
  throw Error(ErrorKind::unsupported, fmt::format("[config] activation '{}' is not built in", name));
}

mx::array attend_to_all(const mx::array& q, const mx::array& k, const mx::array& v, int heads, float scale) {
  if (cpu_is_default() && q.dtype() == mx::float32) return cpu_head_attention(q, k, v, heads, scale);
  const auto split = [&](const mx::array& x) { return heads_first(heads_of(x, x.shape(2) / heads)); };
  const mx::array out = mx::fast::scaled_dot_product_attention(split(q), split(k), split(v), scale);
  return mx::flatten(heads_first(out), 2, 3);
}

CrossKeys CrossProjection::operator()(const mx::array& x) const {
  const auto split = [&](const mx::array& y) {
    if (cpu_is_default() && y.dtype() == mx::float32) return cpu_by_heads(y, heads, mx::float16);
    return mx::contiguous(heads_first(heads_of(y, y.shape(2) / heads)));
  };
  return {split(k(x)), split(v(x))};
}

mx::array attend_across(const mx::array& q, const std::vector<const CrossKeys*>& rows, float scale) {
  if (cpu_is_default() && q.dtype() == mx::float32) {
    std::vector<const CrossKeys*> distinct;
    std::vector<mx::array> keys, values;
    std::vector<int> of;
    for (const CrossKeys* row : rows) {
      const auto found = std::find(distinct.begin(), distinct.end(), row);
      of.push_back(static_cast<int>(found - distinct.begin()));
      if (found != distinct.end()) continue;
      distinct.push_back(row);
      keys.push_back(row->keys);
      values.push_back(row->values);
    }
    return cpu_cross_attention(q, keys, values, std::move(of), scale);
  }
  std::vector<mx::array> out;
  for (size_t r = 0; r < rows.size(); ++r) {
    const mx::array own = heads_first(heads_of(row_of(q, static_cast<int>(r)), rows[r]->keys.shape(3)));
    out.push_back(mx::fast::scaled_dot_product_attention(own, rows[r]->keys, rows[r]->values, scale));
  }
  return mx::flatten(heads_first(mx::concatenate(out, 0)), 2, 3);
}

mx::array cross_scores(const mx::array& q, const CrossKeys& seen, int head, float scale) {
  if (cpu_is_default() && q.dtype() == mx::float32) return cpu_cross_scores(q, seen.keys, head, scale);
  const int dim = seen.keys.shape(3), tokens = seen.keys.shape(2);
  const mx::array own = mx::slice(q, {0, 0, head * dim}, {1, q.shape(1), (head + 1) * dim});
  const mx::array keys = mx::slice(seen.keys, {0, head, 0, 0}, {1, head + 1, tokens, dim});
  const mx::array scores = mx::matmul(mx::squeeze(own, 0), mx::transpose(mx::reshape(keys, {tokens, dim})));
  return mx::multiply(mx::astype(scores, mx::float32), mx::array(scale));
}

mx::array NormLinear::operator()(const mx::array& x) const {
  if (cpu(layer, {&linear}, norm.cpu(), std::nullopt)) return cpu_matmuls(x, layer).front();
  return linear(norm(x));
}

mx::array MlpResidual::operator()(const mx::array& x) const {
  if (cpu(layer, {&up, &down}, norm.cpu(), std::nullopt)) return cpu_mlp(x, layer, static_cast<int>(activation));
  return mx::add(x, down(activate(activation, up(norm(x)))));
}

mx::array GatedMlpResidual::operator()(const mx::array& x) const {
  if (cpu(layer, {&gate, &up, &down}, cpu(norm), post_norm)) {
    return cpu_gated_mlp(x, layer, static_cast<int>(activation), multiplier);
  }
  mx::array in = norm ? (*norm)(x) : x;
  mx::array y = down(mx::multiply(activate(activation, gate(in)), up(in)));
  return add_residual(post_norm ? (*post_norm)(y) : y, x, multiplier);
}

}  // namespace mlxk
