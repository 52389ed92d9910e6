#include "nn/cache/attention_cache.h"

#include <limits>

#include "base/error.h"
#include "kernels/cuda/table.h"
#include "kernels/device.h"
#include "mlx/fast.h"
#include "mlx/ops.h"
#include "nn/cache/batched_cache.h"

namespace mlxk {

namespace {

/// Scores [B, kv_heads, group, L, T], with the lowest value where `mask` hides a key.
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

KvView unpacked(const KvView& seen) {
  const auto whole = [&](const std::vector<mx::array>& parts) {
    return mx::dequantize(parts[0], parts[1], parts[2], seen.group, seen.bits);
  };
  return {{whole(seen.keys)}, {whole(seen.values)}};
}

/// Attention by libmlx's plain operations, for options that its fused one does not support.
mx::array unfused(const mx::array& queries, const KvView& seen, const AttentionScores& how, const AttentionMask& mask) {
  const bool packed = seen.bits > 0;
  const int batch = queries.shape(0), heads = queries.shape(1), length = queries.shape(2);
  const int kv_heads = seen.keys[0].shape(1), group = heads / kv_heads;
  const mx::array scaled = mx::multiply(queries, mx::array(how.scale, queries.dtype()));
  const mx::array grouped = mx::unflatten(scaled, 1, {kv_heads, group});  // the query heads of a group share keys
  const auto times = [&](const mx::array& x, const std::vector<mx::array>& parts, bool transposed) {
    std::vector<mx::array> wide;
    for (const auto& part : parts) wide.push_back(mx::expand_dims(part, 2));
    if (packed) return mx::quantized_matmul(x, wide[0], wide[1], wide[2], transposed, seen.group, seen.bits);
    return mx::matmul(x, transposed ? mx::swapaxes(wide[0], -1, -2) : wide[0]);
  };
  mx::array scores = times(grouped, seen.keys, true);  // [B, kv_heads, group, L, T]
  const int tokens = scores.shape(4);
  if (how.soft_cap > 0) {
    const mx::array cap(how.soft_cap, scores.dtype());
    scores = mx::multiply(cap, mx::tanh(mx::divide(scores, cap)));
  }
  scores = hide(scores, mask);
  if (how.sinks) {
    const mx::array sinks = mx::reshape(mx::astype(*how.sinks, scores.dtype()), {1, kv_heads, group, 1, 1});
    scores = mx::concatenate({scores, mx::broadcast_to(sinks, {batch, kv_heads, group, length, 1})}, -1);
  }
  mx::array weights = mx::softmax(scores, -1, true);
  if (how.sinks) weights = mx::slice(weights, {0, 0, 0, 0, 0}, {batch, kv_heads, group, length, tokens});
  return mx::flatten(times(weights, seen.values, false), 1, 2);
}

}  // namespace

mx::array attend(const mx::array& queries, const KvView& seen, const AttentionScores& how, const AttentionMask& mask) {
  if (seen.bits > 0) {
    // libmlx's quantised product on CUDA lacks small shapes.
    const bool is_cuda = &layer_ops() == &cuda_layer_ops();
    return is_cuda ? attend(queries, unpacked(seen), how, mask) : unfused(queries, seen, how, mask);
  }
  const mx::array &keys = seen.keys[0], &values = seen.values[0];
  const LayerOps& ops = layer_ops();
  const bool plain = how.soft_cap == 0 && !how.sinks;
  if (plain && ops.attention && ops.takes(queries.dtype())) {
    return ops.attention(queries, keys, values, how.scale, mask.mode, mask.array);
  }
  if (how.soft_cap > 0 || keys.shape(3) != values.shape(3)) return unfused(queries, seen, how, mask);
  return mx::fast::scaled_dot_product_attention(queries, keys, values, how.scale, mask.mode, mask.array, how.sinks);
}

bool AttentionCache::attends_in_slots(const Positions& positions) const {
  return layer_ops().attention_step && has_slots(positions);
}

AttentionCache::Slots AttentionCache::reserve_slots(const Positions&, int, int, int, mx::Dtype) {
  throw Error(ErrorKind::internal, "[cache] it appends by itself");
}

mx::array AttentionCache::attend(const mx::array& queries, const mx::array& keys, const mx::array& values,
                                 const AttentionScores& scores, const AttentionMask& mask, const Positions& positions) {
  return mlxk::attend(queries, append(keys, values, positions), scores, mask);
}

KvView AttentionCache::view(const Positions&) const {
  throw Error(ErrorKind::internal, "[cache] its tokens cannot be read by another layer");
}

AttentionCache::Slots AttentionCache::filled_slots(const Positions&) {
  throw Error(ErrorKind::internal, "[cache] its tokens cannot be read by another layer");
}

std::unique_ptr<Cache> AttentionCache::batch(std::span<Cache* const> parts) const {
  return std::make_unique<BatchedAttentionCache>(parts);
}

void AttentionCache::advance(const Positions& positions) {
  for (int row = 0; row < rows(); ++row) positions_[row] += positions.lengths[row];
}

}  // namespace mlxk
