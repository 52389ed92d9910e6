#include "nn/attention.h"

#include "base/error.h"
#include "mlx/ops.h"
#include "nn/cache/batched_cache.h"
#include "nn/cache/buffer.h"
#include "nn/cache/packed_cache.h"
#include "nn/mlp.h"
#include "nn/packed_attention.h"

namespace mlxk {
namespace {

// [B, L, heads * dim] → [B, heads, L, dim]
mx::array heads_first(const mx::array& x, int dim) {
  return mx::transpose(mx::unflatten(x, -1, {-1, dim}), {0, 2, 1, 3});
}

/// Norm, rotation and attention within each of the texts of `packed`; throws internal for features that only cached
/// attention supports.
mx::array attended_within(const Attention& attention, const Qkv& qkv, const PackedCache& packed,
                          const Positions& positions, bool scaled_queries) {
  const bool knows = !scaled_queries && !attention.q_norm && !attention.k_norm && !attention.scores.sinks &&
                     attention.scores.soft_cap == 0 && attention.mask.chunk == 0 && !qkv.reads && qkv.value_dim == 0;
  if (!knows) throw Error(ErrorKind::internal, "[attention] packed texts need attention of the plain kind");
  PackedAttention a{qkv.q, qkv.k, qkv.v, packed.lengths, qkv.head_dim, attention.scores.scale, packed.causal};
  a.window = packed.window;
  if (attention.rope) a.rotation = attention.rope->rotation(positions);
  const auto norm_before = [&](const std::optional<HeadNorm>& norm, std::optional<NormWeights>& own, mx::array& x) {
    if (norm) own = norm->weights();
    if (norm && !own) x = (*norm)(x, qkv.head_dim);
  };
  norm_before(qkv.q_norm, a.q_norm, a.q);
  norm_before(qkv.k_norm, a.k_norm, a.k);
  return attend_within(a);
}

/// Numbers [begin, end) of the last axis of `x`, with the last two axes merged into one.
mx::array flat_part(const mx::array& x, int begin, int end) {
  mx::Shape from(x.ndim(), 0), to = x.shape();
  from.back() = begin;
  to.back() = end;
  return mx::flatten(mx::slice(x, from, to), -2, -1);
}

}  // namespace

mx::array HeadNorm::operator()(const mx::array& x, int head_dim) const {
  if (whole) return norm(x);
  mx::array y = norm(mx::unflatten(x, -1, {-1, head_dim}));
  if (factor) y = mx::multiply(y, mx::astype(*factor, y.dtype()));
  return mx::flatten(y, -2, -1);
}

std::optional<NormWeights> HeadNorm::weights() const {
  if (whole || factor) return std::nullopt;
  NormWeights own = norm.weights();
  return own.centred ? std::nullopt : std::optional(std::move(own));
}

Qkv NormQkv::operator()(const mx::array& x) const {
  std::vector<const Linear*> linears{&q};
  for (const auto* linear : {&k, &v, &gate}) {
    if (*linear) linears.push_back(&**linear);
  }
  std::vector<mx::array> parts;
  const LayerOps& ops = layer_ops();
  if (const Packed layer = ops.matmuls ? packed.of(linears, norm) : nullptr) {
    parts = ops.matmuls(x, layer);
  } else {
    const mx::array in = norm ? (*norm)(x) : x;
    for (const Linear* linear : linears) parts.push_back((*linear)(in));
  }
  const int width = value_dim > 0 ? value_dim : head_dim;
  std::optional<mx::array> opened;
  if (gate) {
    opened = parts.back();
    parts.pop_back();
  }
  if (grouped_heads > 0) {
    const int own = grouped_heads * head_dim;
    const mx::array groups = mx::unflatten(parts[0], -1, {-1, own + head_dim + width});
    parts = {flat_part(groups, 0, own), flat_part(groups, own, own + head_dim),
             flat_part(groups, own + head_dim, own + head_dim + width)};
  }
  const bool reads = parts.size() == 1;
  while (parts.size() < 3) parts.push_back(parts.back());
  if (gate_in_q) {
    const mx::array heads = mx::unflatten(parts[0], -1, {-1, head_dim + width});
    opened = flat_part(heads, head_dim, head_dim + width);
    parts[0] = flat_part(heads, 0, head_dim);
  }
  if (v_norm && !reads) parts[2] = (*v_norm)(parts[2], width);
  return {parts[0], parts[1], parts[2], head_dim, q_norm, k_norm, opened, value_dim, reads};
}

mx::array Attention::operator()(const Qkv& qkv, AttentionCache& cache, const LayerInputs& in,
                                const std::optional<mx::array>& query_scale) const {
  return (*this)(qkv, cache, in.masks.of(cache, mask), in.positions, query_scale);
}

mx::array Attention::operator()(const Qkv& qkv, AttentionCache& cache, const AttentionMask& seen,
                                const Positions& positions, const std::optional<mx::array>& query_scale) const {
  mx::array out = attended(qkv, cache, seen, positions, query_scale);
  if (!qkv.gate) return out;
  const mx::array opened = activate(gate, *qkv.gate);
  const int width = qkv.value_dim > 0 ? qkv.value_dim : qkv.head_dim;
  if (opened.shape(2) == out.shape(2)) return mx::multiply(out, opened);
  return mx::flatten(mx::multiply(mx::unflatten(out, -1, {-1, width}), mx::expand_dims(opened, -1)), -2, -1);
}

mx::array Attention::attended(const Qkv& qkv, AttentionCache& cache, const AttentionMask& seen,
                              const Positions& positions, const std::optional<mx::array>& query_scale) const {
  if (const auto* packed = dynamic_cast<const PackedCache*>(&cache)) {
    return attended_within(*this, qkv, *packed, positions, query_scale.has_value());
  }
  if (cache.attends_in_slots(positions)) {
    AttentionStep step = step_of(qkv, seen, positions, query_scale);
    const auto attends = layer_ops().attends;
    if (!attends || attends(step)) return in_slots(std::move(step), qkv, cache, seen, positions);
  }
  if (auto* batched = dynamic_cast<BatchedAttentionCache*>(&cache)) {
    // Each row is computed as it would be alone, to the bit, because libmlx's results may depend on the shape of the
    // whole.
    return batched->by_rows(positions, !qkv.reads, [&](AttentionCache& part, int row, const Positions& at) {
      Qkv own = qkv;
      for (mx::array* x : {&own.q, &own.k, &own.v}) *x = row_of(*x, row);
      const bool scaled = query_scale && query_scale->shape(0) > 1;
      AttentionMask mask = part.mask(at, request_of_row(seen.request, row));
      return attended(own, part, mask, at, scaled ? row_of(*query_scale, row) : query_scale);
    });
  }
  const auto heads_of = [&](const mx::array& x, const std::optional<HeadNorm>& before,
                            const std::optional<HeadNorm>& after) {
    mx::array heads = heads_first(before ? (*before)(x, qkv.head_dim) : x, qkv.head_dim);
    if (rope) heads = (*rope)(heads, positions);
    return after ? after->norm(heads) : heads;
  };
  mx::array q = heads_of(qkv.q, qkv.q_norm, q_norm);
  if (query_scale) q = mx::multiply(q, mx::astype(*query_scale, q.dtype()));
  const auto appended = [&] {
    const mx::array k = heads_of(qkv.k, qkv.k_norm, k_norm);
    return cache.append(k, heads_first(qkv.v, qkv.value_dim > 0 ? qkv.value_dim : qkv.head_dim), positions);
  };
  const mx::array out = mlxk::attend(q, qkv.reads ? cache.view(positions) : appended(), scores, seen);
  return mx::flatten(mx::transpose(out, {0, 2, 1, 3}), 2, 3);
}

AttentionStep Attention::step_of(const Qkv& qkv, const AttentionMask& seen, const Positions& positions,
                                 const std::optional<mx::array>& query_scale) const {
  AttentionStep step{qkv.q, qkv.k, qkv.v, qkv.head_dim, scores.scale, positions.offsets, positions.lengths};
  if (qkv.value_dim > 0) step.value_dim = qkv.value_dim;
  if (rope) step.rotation = rope->rotation(positions);
  // Norms that the kernel does not support are separate operations before it.
  const auto norm_before = [&](const std::optional<HeadNorm>& norm, std::optional<NormWeights>& own, mx::array& x) {
    if (norm) own = norm->weights();
    if (norm && !own) x = (*norm)(x, qkv.head_dim);
  };
  norm_before(qkv.q_norm, step.q_norm, step.q);
  if (!qkv.reads) norm_before(qkv.k_norm, step.k_norm, step.k);
  if (q_norm) step.post_rope_q_norm = q_norm->norm.weights();
  if (k_norm && !qkv.reads) step.post_rope_k_norm = k_norm->norm.weights();
  step.rotary_positions = positions.given;
  step.query_scale = query_scale;
  step.soft_cap = scores.soft_cap;
  step.sinks = scores.sinks;
  if (seen.given) step.mask = seen.array;
  step.reads = qkv.reads;
  return step;
}

mx::array Attention::in_slots(AttentionStep step, const Qkv& qkv, AttentionCache& cache, const AttentionMask& seen,
                              const Positions& positions) const {
  const auto slots = qkv.reads ? cache.filled_slots(positions)
                               : cache.reserve_slots(positions, qkv.k.shape(2) / qkv.head_dim, qkv.head_dim,
                                                     step.value_dim > 0 ? step.value_dim : qkv.head_dim, qkv.q.dtype());
  if (slots.value_prefix > 0) step.value_dim = slots.value_prefix;
  step.ring = slots.window > 0;
  step.window = step.ring ? slots.window : seen.given ? 0 : seen.request.window;
  step.keep = slots.keep;
  const auto all = [](const std::vector<mx::array*>& buffers) {
    std::vector<mx::array> arrays;
    for (const mx::array* buffer : buffers) arrays.push_back(*buffer);
    return arrays;
  };
  AttentionResult after = layer_ops().attention_step(std::move(step), all(slots.keys), all(slots.values));
  for (size_t i = 0; i < after.keys.size(); ++i) {
    *slots.keys[i] = after.keys[i];
    if (i < after.values.size()) *slots.values[i] = after.values[i];
  }
  return after.out;
}

mx::array OutResidual::operator()(const mx::array& x, const mx::array& residual) const {
  const mx::array in = in_norm ? (*in_norm)(x) : x;
  if (const LayerOps& ops = layer_ops(); ops.matmul_residual) {
    if (const Packed& layer = packed.of({&out}, std::nullopt, norm)) {
      return ops.matmul_residual(in, layer, multiplier, residual);
    }
  }
  const mx::array y = out(in);
  return add_residual(norm ? (*norm)(y) : y, residual, multiplier);
}

}  // namespace mlxk
