#include "nn/latent_attention.h"

#include "mlx/ops.h"

namespace mlxk {
namespace {

/// Numbers [begin, end) of the last axis.
mx::array part(const mx::array& x, int begin, int end) {
  mx::Shape from(x.ndim(), 0), to = x.shape();
  from.back() = begin;
  to.back() = end;
  return mx::slice(x, from, to);
}

/// x [B, L, heads, in] times a matrix per head → [B, L, heads, out].
mx::array by_head(const ExpertLinear& heads, const mx::array& x) {
  const int tokens = x.shape(0) * x.shape(1), count = x.shape(2);
  const mx::array ids = mx::broadcast_to(mx::arange(0, count, mx::uint32), {tokens, count});
  const mx::array y = heads.of_chosen(mx::flatten(x, 0, 1), ids);
  return mx::reshape(y, {x.shape(0), x.shape(1), count, y.shape(2)});
}

/// x [B, L, heads, dim] rotated.
mx::array rotated(const Rope& rope, const mx::array& x, const Positions& positions) {
  return mx::swapaxes(rope(mx::swapaxes(x, 1, 2), positions), 1, 2);
}

}  // namespace

mx::array LatentAttention::operator()(const mx::array& x, AttentionCache& cache, const LayerInputs& in,
                                      const std::optional<mx::array>& residual) const {
  const int heads = embed_q.experts(), latent_dim = kv.out() - rope_dim, width = latent_dim + rope_dim;
  std::vector<mx::array> projected;
  const LayerOps& ops = layer_ops();
  if (const Packed layer = ops.matmuls ? packed.of({&q_in, &kv}, norm) : nullptr) {
    projected = ops.matmuls(x, layer);
  } else {
    const mx::array h = norm ? (*norm)(x) : x;
    projected = {q_in(h), kv(h)};
  }
  const mx::array queries = q_out ? (*q_out)(projected[0]) : projected[0];
  const auto [q, k] = queries_and_keys(queries, projected[1], in.positions);
  Qkv qkv{q, k, part(k, 0, latent_dim), width};
  qkv.value_dim = latent_dim;
  const mx::array sums = attention(qkv, cache, in, in.query_scale);
  const Packed values = ops.head_matmul ? unembed_out.packed(sums.dtype()) : nullptr;
  const mx::array y = values ? ops.head_matmul(sums, values)
                             : mx::flatten(by_head(unembed_out, mx::unflatten(sums, -1, {heads, latent_dim})), 2, 3);
  return out(y, residual ? *residual : x);
}

std::pair<mx::array, mx::array> LatentAttention::queries_and_keys(const mx::array& queries, const mx::array& projected,
                                                                  const Positions& positions) const {
  const int heads = embed_q.experts(), width = projected.shape(2), latent_dim = width - rope_dim;
  const LayerOps& ops = layer_ops();
  if (const Packed stack = ops.latent_heads && !positions.given ? embed_q.packed(queries.dtype()) : nullptr) {
    return ops.latent_heads({queries, projected, latent_norm.weights(), stack, rope_dim,
                             rope ? rope->rotation(positions) : Rotation{}, positions.offsets});
  }
  mx::array q = mx::unflatten(queries, -1, {heads, -1});
  const int nope_dim = q.shape(3) - rope_dim;
  const mx::array latent = latent_norm(part(projected, 0, latent_dim));
  mx::array q_turned = part(q, nope_dim, nope_dim + rope_dim);
  mx::array k_turned = part(projected, latent_dim, width);
  if (rope) {
    q_turned = rotated(*rope, q_turned, positions);
    k_turned = mx::squeeze(rotated(*rope, mx::expand_dims(k_turned, 2), positions), 2);
  }
  q = mx::concatenate({by_head(embed_q, part(q, 0, nope_dim)), q_turned}, 3);
  return {mx::flatten(q, 2, 3), mx::concatenate({latent, k_turned}, 2)};
}

}  // namespace mlxk
