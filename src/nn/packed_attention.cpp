#include "nn/packed_attention.h"

#include <algorithm>
#include <cmath>

#include "mlx/fast.h"
#include "mlx/ops.h"

namespace mlxk {
namespace {

/// x [tokens, heads, dim] rotated by the positions [tokens].
mx::array rotate(const mx::array& x, const Rotation& rotation, const mx::array& positions) {
  const int pairs = static_cast<int>(rotation.pairs()), tokens = x.shape(0), heads = x.shape(1), dim = x.shape(2);
  const mx::array steps(rotation.steps.data(), {1, 1, pairs}, mx::float32);
  const mx::array angles = mx::multiply(mx::reshape(mx::astype(positions, mx::float32), {tokens, 1, 1}), steps);
  const mx::array cos = mx::cos(angles), sin = mx::sin(angles);
  const auto part = [&](int begin, int end, int step) {
    return mx::slice(x, {0, 0, begin}, {tokens, heads, end}, {1, 1, step});
  };
  const auto scaled = [&](const mx::array& y) {
    return mx::multiply(mx::astype(y, mx::float32), mx::array(rotation.input_scale));
  };
  const bool near = rotation.traditional;
  const mx::array a = scaled(near ? part(0, 2 * pairs, 2) : part(0, pairs, 1));
  const mx::array b = scaled(near ? part(1, 2 * pairs, 2) : part(pairs, 2 * pairs, 1));
  const mx::array first = mx::subtract(mx::multiply(a, cos), mx::multiply(b, sin));
  const mx::array second = mx::add(mx::multiply(a, sin), mx::multiply(b, cos));
  const mx::array turned =
      near ? mx::flatten(mx::stack({first, second}, 3), 2, 3) : mx::concatenate({first, second}, 2);
  const mx::array rotated = mx::astype(turned, x.dtype());
  return 2 * pairs == dim ? rotated : mx::concatenate({rotated, part(2 * pairs, dim, 1)}, 2);
}

/// The bias added to the scores of a sequence, [1 or heads, length, length]; nullopt: none.
std::optional<mx::array> score_bias(const PackedAttention& a, int length, int attended) {
  const bool narrow = a.window > 0 && a.window < length;
  if (!a.causal && !narrow && !a.distance_bias && attended == length) return std::nullopt;
  const mx::array at = mx::arange(length);
  const mx::array ahead = mx::subtract(mx::reshape(at, {1, length}), mx::reshape(at, {length, 1}));  // key - query
  mx::array bias = mx::zeros({1, length, length}, mx::float32);
  if (a.distance_bias) {
    const int most = a.distance_bias->shape(1) / 2;
    const mx::array clipped = mx::clip(ahead, mx::array(-most), mx::array(most));
    bias = mx::take(*a.distance_bias, mx::add(clipped, mx::array(most)), 1);
  }
  mx::array hidden = mx::zeros({length, length}, mx::bool_);
  if (a.causal) hidden = mx::greater(ahead, mx::array(0));
  if (narrow) hidden = mx::logical_or(hidden, mx::greater_equal(mx::abs(ahead), mx::array(a.window)));
  if (attended < length) {
    hidden = mx::logical_or(hidden, mx::greater_equal(mx::reshape(at, {1, length}), mx::array(attended)));
  }
  return mx::where(hidden, mx::array(-INFINITY), bias);
}

/// Whether unseen tokens are combined with other masks; no device's own operation supports that.
bool is_mixed(const PackedAttention& a) {
  if (a.attended.empty() || a.attended == a.lengths) return false;
  const int longest = *std::max_element(a.lengths.begin(), a.lengths.end());
  return a.causal || a.distance_bias || (a.window > 0 && a.window < longest);
}

}  // namespace

mx::array packed_positions(const std::vector<int>& lengths, int first) {
  std::vector<int> positions;
  for (const int length : lengths) {
    for (int i = 0; i < length; ++i) positions.push_back(first + i);
  }
  return mx::array(positions.data(), {static_cast<int>(positions.size())}, mx::int32);
}

mx::array attend_within(const PackedAttention& a) {
  if (!is_mixed(a)) {
    if (auto own = packed_attention(a)) return *own;
  }
  const mx::array positions = packed_positions(a.lengths);
  const mx::Shape shape = a.q.shape();
  // [tokens, heads, dim]
  const auto heads_of = [&](const mx::array& x, const std::optional<NormWeights>& norm) {
    mx::array heads = mx::reshape(x, {-1, x.shape(-1) / a.head_dim, a.head_dim});
    if (norm) heads = mx::fast::rms_norm(heads, norm->weight, norm->eps);
    return a.rotation.pairs() > 0 ? rotate(heads, a.rotation, positions) : heads;
  };
  const mx::array q = heads_of(a.q, a.q_norm), k = heads_of(a.k, a.k_norm);
  const mx::array v = mx::reshape(a.v, {-1, a.v.shape(-1) / a.head_dim, a.head_dim});
  std::vector<mx::array> out;
  int first = 0;
  for (size_t i = 0; i < a.lengths.size(); ++i) {
    const int length = a.lengths[i];
    const auto own = [&](const mx::array& x) {
      const mx::array part = mx::slice(x, {first, 0, 0}, {first + length, x.shape(1), x.shape(2)});
      return mx::expand_dims(mx::transpose(part, {1, 0, 2}), 0);  // [1, heads, length, dim]
    };
    auto bias = score_bias(a, length, a.attended.empty() ? length : a.attended[i]);
    if (bias) bias = mx::astype(mx::expand_dims(*bias, 0), q.dtype());
    const mx::array y =
        mx::fast::scaled_dot_product_attention(own(q), own(k), own(v), a.scale, bias ? "array" : "", bias);
    out.push_back(mx::transpose(mx::squeeze(y, 0), {1, 0, 2}));
    first += length;
  }
  return mx::reshape(mx::concatenate(out, 0), shape);
}

}  // namespace mlxk
