#include "nn/cache/attention_cache.h"

#include <limits>

#include "base/error.h"
#include "kernels/cpu_attention.h"
#include "kernels/cpu_op.h"
#include "mlx/fast.h"
#include "mlx/ops.h"
#include "nn/cache/batched_cache.h"

namespace mlxk {

namespace {

/// The same by libmlx's plain operations, for what its fused one does not know.
mx::array unfused_attention(const mx::array& queries, const mx::array& keys, const mx::array& values,
                            const AttentionScores& how, const AttentionMask& mask) {
  const int batch = queries.shape(0), heads = queries.shape(1), length = queries.shape(2), kv_heads = keys.shape(1);
  const mx::array scaled = mx::multiply(queries, mx::array(how.scale, queries.dtype()));
  const mx::array grouped = mx::unflatten(scaled, 1, {kv_heads, heads / kv_heads});  // a group shares keys
  const mx::array k = mx::expand_dims(keys, 2), v = mx::expand_dims(values, 2);
  mx::array scores = mx::matmul(grouped, mx::swapaxes(k, -1, -2));  // [B, kv_heads, group, L, T]
  if (how.soft_cap > 0) {
    const mx::array cap(how.soft_cap, scores.dtype());
    scores = mx::multiply(cap, mx::tanh(mx::divide(scores, cap)));
  }
  scores = hide(scores, mask);
  if (how.sinks) {
    const mx::array sinks = mx::reshape(mx::astype(*how.sinks, scores.dtype()), {1, kv_heads, heads / kv_heads, 1, 1});
    scores = mx::concatenate({scores, mx::broadcast_to(sinks, {batch, kv_heads, heads / kv_heads, length, 1})}, -1);
  }
  mx::array weights = mx::softmax(scores, -1, true);
  if (how.sinks)
    weights = mx::slice(weights, {0, 0, 0, 0, 0}, {batch, kv_heads, heads / kv_heads, length, keys.shape(2)});
  return mx::flatten(mx::matmul(weights, v), 1, 2);
}

}  // namespace

mx::array hide(const mx::array& scores, const AttentionMask& mask) {
  if (mask.mode.empty()) return scores;
  const mx::array hidden = mx::array(std::numeric_limits<float>::lowest(), mx::float32);
  if (mask.mode == "causal") {
    const int length = scores.shape(3), tokens = scores.shape(4);
    const mx::array queries = mx::reshape(mx::arange(tokens - length, tokens), {length, 1});
    return mx::where(mx::less_equal(mx::arange(tokens), queries), scores, mx::astype(hidden, scores.dtype()));
  }
  const mx::array wide = mx::expand_dims(*mask.array, 2);  // [B or 1, 1, 1, L, T]
  if (wide.dtype() == mx::bool_) return mx::where(wide, scores, mx::astype(hidden, scores.dtype()));
  return mx::add(scores, mx::astype(wide, scores.dtype()));
}

mx::array scaled_attention(const mx::array& queries, const mx::array& keys, const mx::array& values,
                           const AttentionScores& how, const AttentionMask& mask) {
  const bool plain = how.soft_cap == 0 && !how.sinks;
  if (plain && cpu_is_default()) return cpu_attention(queries, keys, values, how.scale, mask.mode, mask.array);
  if (how.soft_cap > 0 || keys.shape(3) != values.shape(3)) return unfused_attention(queries, keys, values, how, mask);
  return mx::fast::scaled_dot_product_attention(queries, keys, values, how.scale, mask.mode, mask.array, how.sinks);
}

bool AttentionCache::attends_in_slots(const Positions& positions) const {
  return cpu_is_default() && has_slots(positions);
}

AttentionCache::Slots AttentionCache::reserve_slots(const Positions&, int, int, int) {
  throw Error(ErrorKind::internal, "[cache] it appends by itself");
}

std::unique_ptr<Cache> AttentionCache::batch(std::span<Cache* const> parts) const {
  return std::make_unique<BatchedAttentionCache>(parts);
}

void AttentionCache::advance(const Positions& positions) {
  for (int row = 0; row < rows(); ++row) positions_[row] += positions.lengths[row];
}

}  // namespace mlxk
