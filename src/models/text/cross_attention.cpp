#include "models/text/cross_attention.h"

#include <algorithm>

#include "mlx/ops.h"

namespace mlxk {

// [B, L, heads * dim] → [B, heads, L, dim]
mx::array CrossAttention::by_heads(const mx::array& x) const {
  return mx::contiguous(mx::transpose(mx::unflatten(x, -1, {-1, query.head_dim}), {0, 2, 1, 3}));
}

std::vector<CrossCache::Seen> CrossAttention::update(CrossCache& cache, const LayerInputs& in, mx::Dtype type) const {
  for (const CrossMedia& media : in.cross_media) {
    const mx::array features = mx::astype(mx::expand_dims(media.features, 0), type);
    mx::array keys = key(features);
    if (key_norm) keys = (*key_norm)(keys, query.head_dim);
    cache.add(media.row, in.positions.offsets[static_cast<size_t>(media.row)] + media.token, by_heads(keys),
              by_heads(value(features)));
  }
  std::vector<CrossCache::Seen> seen = cache.seen(in.positions);
  cache.advance(in.positions);
  return seen;
}

mx::array CrossAttention::operator()(const mx::array& x, const std::vector<CrossCache::Seen>& seen) const {
  const int rows = x.shape(0), length = x.shape(1);
  const Qkv qkv = query(x);
  const mx::array q = qkv.q_norm ? (*qkv.q_norm)(qkv.q, qkv.head_dim) : qkv.q;
  std::vector<mx::array> all;
  auto next = seen.begin();
  for (int row = 0; row < rows; ++row) {
    std::vector<mx::array> parts;
    int done = 0;
    const auto skip_to = [&](int token) {
      if (token > done) parts.push_back(mx::zeros({1, token - done, q.shape(2)}, q.dtype()));
      done = token;
    };
    for (; next != seen.end() && next->row == row; ++next) {
      skip_to(next->begin);
      const mx::array own = mx::slice(q, {row, next->begin, 0}, {row + 1, next->end, q.shape(2)});
      const mx::array heads = mlxk::attend(by_heads(own), next->view, scores, {});
      parts.push_back(mx::flatten(mx::transpose(heads, {0, 2, 1, 3}), 2, 3));
      done = next->end;
    }
    skip_to(length);
    all.push_back(parts.size() == 1 ? parts.front() : mx::concatenate(parts, 1));
  }
  return all.size() == 1 ? all.front() : mx::concatenate(all, 0);
}

mx::array where_seen(const std::vector<CrossCache::Seen>& seen, const mx::array& y, const mx::array& x) {
  const int rows = x.shape(0), length = x.shape(1);
  std::vector<uint8_t> sees(static_cast<size_t>(rows) * static_cast<size_t>(length), 0);
  for (const auto& one : seen) {
    std::fill(sees.begin() + one.row * length + one.begin, sees.begin() + one.row * length + one.end, uint8_t{1});
  }
  if (std::count(sees.begin(), sees.end(), 0) == 0) return y;
  return mx::where(mx::astype(mx::array(sees.begin(), {rows, length, 1}, mx::uint8), mx::bool_), y, x);
}

}  // namespace mlxk
