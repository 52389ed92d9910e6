#include "nn/gated_delta.h"

#include <algorithm>
#include <cmath>

#include "mlx/ops.h"
#include "nn/activation.h"

namespace mlxk {
namespace {

constexpr float kUnitEps = 1e-6F;  // added to a key's squared length

/// [B, L, heads * dim] as [B, L, heads, dim] float32.
mx::array by_heads(const mx::array& x, int heads) { return mx::astype(mx::unflatten(x, -1, {heads, -1}), mx::float32); }

/// Token t of x [B, L, ...] as [B, ...].
mx::array token(const mx::array& x, int t) {
  mx::Shape begin(x.ndim(), 0), end = x.shape();
  begin[1] = t;
  end[1] = t + 1;
  return mx::squeeze(mx::slice(x, begin, end), 1);
}

/// Which tokens count, [B, L, 1] bool, or [B, L, 1, 1]; nullopt: all.
std::optional<mx::array> counting(const Positions& positions, int axes) {
  const auto& lengths = positions.lengths;
  if (std::all_of(lengths.begin(), lengths.end(), [&](int length) { return length == positions.length; })) {
    return std::nullopt;
  }
  mx::Shape rows(axes, 1), tokens(axes, 1);
  rows[0] = positions.rows();
  tokens[1] = positions.length;
  return mx::less(mx::reshape(mx::arange(positions.length), tokens), mx::array(lengths.begin(), rows, mx::int32));
}

}  // namespace

GatedDelta::GatedDelta(const WeightPath& path, const Dims& dims)
    : dims_(dims),
      rate_(mx::negative(mx::exp(mx::astype(path.take("A_log", {dims.value_heads}), mx::float32)))),
      dt_bias_(
          mx::astype(path.take("dt_bias", {dims.value_heads * (dims.by_channel ? dims.key_dim : 1)}), mx::float32)),
      unit_(dims.key_dim, kUnitEps / static_cast<float>(dims.key_dim)) {
  if (!dims.by_channel) return;
  rate_ = mx::reshape(rate_, {dims.value_heads, 1});
  dt_bias_ = mx::reshape(dt_bias_, {dims.value_heads, dims.key_dim});
}

mx::array GatedDelta::operator()(const Inputs& in, RecurrentCache& cache, int index, const Positions& positions) const {
  const auto& d = dims_;
  const auto serving = [&](const mx::array& x) {
    return d.value_heads == d.key_heads ? x : mx::repeat(x, d.value_heads / d.key_heads, 2);
  };
  const float scale = 1 / std::sqrt(static_cast<float>(d.key_dim));
  const mx::array q = serving(mx::multiply(unit_(by_heads(in.q, d.key_heads)), mx::array(scale * scale)));
  const mx::array k = serving(mx::multiply(unit_(by_heads(in.k, d.key_heads)), mx::array(scale)));
  const mx::array v = by_heads(in.v, d.value_heads);
  const mx::array a = d.by_channel ? by_heads(in.a, d.value_heads) : mx::astype(in.a, mx::float32);
  const mx::array step = activate(Activation::softplus, mx::add(a, dt_bias_));
  mx::array decay = mx::exp(mx::multiply(rate_, step));
  mx::array beta = mx::sigmoid(mx::astype(in.b, mx::float32));
  // A token that does not count leaves the state as it is.
  if (const auto counts = counting(positions, decay.ndim())) decay = mx::where(*counts, decay, mx::array(1.0F));
  if (const auto counts = counting(positions, beta.ndim())) beta = mx::where(*counts, beta, mx::array(0.0F));

  const auto& before = cache.state(index);
  const mx::Shape shape{positions.rows(), d.value_heads, d.value_dim, d.key_dim};
  mx::array state = before ? *before : mx::zeros(shape, mx::float32);
  const auto row_of_each = [](const mx::array& x) { return mx::expand_dims(x, -2); };  // [..., 1, key_dim]
  const auto column = [](const mx::array& x) { return mx::expand_dims(x, -1); };
  std::vector<mx::array> all;
  for (int t = 0; t < positions.length; ++t) {
    const mx::array key = row_of_each(token(k, t)), forget = token(decay, t);
    state = mx::multiply(state, d.by_channel ? row_of_each(forget) : column(column(forget)));
    const mx::array known = mx::sum(mx::multiply(state, key), -1);
    const mx::array learned = mx::multiply(mx::subtract(token(v, t), known), column(token(beta, t)));
    state = mx::add(state, mx::multiply(column(learned), key));
    all.push_back(mx::sum(mx::multiply(state, row_of_each(token(q, t))), -1));
  }
  cache.set_state(index, state);
  return mx::astype(mx::flatten(mx::stack(all, 1), -2, -1), in.v.dtype());
}

}  // namespace mlxk
