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
  mx::array q = mx::unflatten(q_out ? (*q_out)(projected[0]) : projected[0], -1, {heads, -1});
  const int nope_dim = q.shape(3) - rope_dim;
  const mx::array latent = latent_norm(part(projected[1], 0, latent_dim));
  mx::array q_turned = part(q, nope_dim, nope_dim + rope_dim);
  mx::array k_turned = part(projected[1], latent_dim, width);
  if (rope) {
    q_turned = rotated(*rope, q_turned, in.positions);
    k_turned = mx::squeeze(rotated(*rope, mx::expand_dims(k_turned, 2), in.positions), 2);
  }
  q = mx::concatenate({by_head(embed_q, part(q, 0, nope_dim)), q_turned}, 3);
  Qkv qkv{mx::flatten(q, 2, 3), mx::concatenate({latent, k_turned}, 2), latent, width};
  qkv.value_dim = latent_dim;
  const mx::array sums = mx::unflatten(attention(qkv, cache, in, in.query_scale), -1, {heads, latent_dim});
  return out(mx::flatten(by_head(unembed_out, sums), 2, 3), residual ? *residual : x);
}

}  // namespace mlxk
