#include "nn/encoder_attention.h"

#include <algorithm>

#include "kernels/device.h"
#include "mlx/fast.h"
#include "mlx/ops.h"
#include "nn/cache/buffer.h"

namespace mlxk {
namespace {

// [B, L, heads * head_dim] → [B, L, heads, head_dim]
mx::array heads_of(const mx::array& x, int head_dim) { return mx::unflatten(x, -1, {-1, head_dim}); }

// [B, L, heads, head_dim] → [B, heads, L, head_dim]
mx::array heads_first(const mx::array& x) { return mx::transpose(x, {0, 2, 1, 3}); }

}  // namespace

mx::array attend_to_all(const mx::array& q, const mx::array& k, const mx::array& v, int heads, float scale) {
  const LayerOps& ops = layer_ops();
  if (ops.head_attention && ops.takes(q.dtype())) return ops.head_attention(q, k, v, heads, scale);
  const auto split = [&](const mx::array& x) { return heads_first(heads_of(x, x.shape(2) / heads)); };
  const mx::array out = mx::fast::scaled_dot_product_attention(split(q), split(k), split(v), scale);
  return mx::flatten(heads_first(out), 2, 3);
}

CrossKeys CrossProjection::operator()(const mx::array& x) const {
  const auto split = [&](const mx::array& y) {
    const LayerOps& ops = layer_ops();
    if (ops.by_heads && ops.takes(y.dtype())) return ops.by_heads(y, heads);
    return mx::contiguous(heads_first(heads_of(y, y.shape(2) / heads)));
  };
  return {split(k(x)), split(v(x))};
}

mx::array attend_across(const mx::array& q, const std::vector<const CrossKeys*>& rows, float scale) {
  const LayerOps& ops = layer_ops();
  if (ops.cross_attention && ops.takes(q.dtype())) {
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
    return ops.cross_attention(q, keys, values, std::move(of), scale);
  }
  std::vector<mx::array> out;
  for (size_t r = 0; r < rows.size(); ++r) {
    const mx::array own = heads_first(heads_of(row_of(q, static_cast<int>(r)), rows[r]->keys.shape(3)));
    out.push_back(mx::fast::scaled_dot_product_attention(own, rows[r]->keys, rows[r]->values, scale));
  }
  return mx::flatten(heads_first(mx::concatenate(out, 0)), 2, 3);
}

mx::array cross_scores(const mx::array& q, const CrossKeys& seen, int head, float scale) {
  const LayerOps& ops = layer_ops();
  if (ops.cross_scores && ops.takes(q.dtype())) return ops.cross_scores(q, seen.keys, head, scale);
  const int dim = seen.keys.shape(3), tokens = seen.keys.shape(2);
  const mx::array own = mx::slice(q, {0, 0, head * dim}, {1, q.shape(1), (head + 1) * dim});
  const mx::array keys = mx::slice(seen.keys, {0, head, 0, 0}, {1, head + 1, tokens, dim});
  const mx::array scores = mx::matmul(mx::squeeze(own, 0), mx::transpose(mx::reshape(keys, {tokens, dim})));
  return mx::multiply(mx::astype(scores, mx::float32), mx::array(scale));
}

}  // namespace mlxk
