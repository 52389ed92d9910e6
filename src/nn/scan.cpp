#include "nn/scan.h"

#include <algorithm>
#include <limits>

#include "mlx/ops.h"

namespace mlxk {
namespace {

constexpr int kChunk = 64;

/// Tokens [from, to) of x [B, L, ...].
mx::array tokens(const mx::array& x, int from, int to) {
  mx::Shape begin(x.ndim(), 0), end = x.shape();
  begin[1] = from;
  end[1] = to;
  return mx::slice(x, begin, end);
}

/// x [B, L, ...] with `value` at the tokens past a row's length.
mx::array within_lengths(const mx::array& x, const std::vector<int>& lengths, float value) {
  const int length = x.shape(1);
  if (std::all_of(lengths.begin(), lengths.end(), [&](int n) { return n == length; })) return x;
  mx::Shape rows(x.ndim(), 1), order(x.ndim(), 1);
  rows[0] = x.shape(0);
  order[1] = length;
  const mx::array counts =
      mx::less(mx::reshape(mx::arange(0, length, mx::int32), order), mx::array(lengths.begin(), rows, mx::int32));
  return mx::where(counts, x, mx::array(value, x.dtype()));
}

/// softplus(dt + bias) within its bounds, [B, L, heads] float32; 0 past a row's length, which leaves the state
/// unchanged.
mx::array time_steps(const SelectiveScan& s) {
  mx::array dt = mx::astype(s.dt, mx::float32);
  if (s.dt_bias) dt = mx::add(dt, *s.dt_bias);
  dt = mx::clip(mx::logaddexp(dt, mx::array(0.0F)), mx::array(s.dt_min), mx::array(s.dt_max));
  return within_lengths(dt, s.lengths, 0);
}

/// One chunk of heads with one decay each: x [B, q, heads, dim], dt [B, q, heads], b and c [B, q, groups, states];
/// updates `state`.
mx::array chunk_of_scan(const mx::array& x, const mx::array& dt, const mx::array& b, const mx::array& c,
                        const mx::array& a, mx::array& state) {
  const int q = x.shape(1), shared = x.shape(2) / b.shape(2);
  const auto by_head = [](const mx::array& v) { return mx::transpose(v, {0, 2, 1, 3}); };
  const mx::array keys = mx::repeat(by_head(b), shared, 1), queries = mx::repeat(by_head(c), shared, 1);
  const mx::array decay = mx::transpose(mx::cumsum(mx::multiply(dt, a), 1), {0, 2, 1});  // [B, heads, q], its logarithm
  const mx::array in = by_head(mx::multiply(x, mx::expand_dims(dt, -1)));                // [B, heads, q, dim]
  const mx::array between = mx::subtract(mx::expand_dims(decay, -1), mx::expand_dims(decay, -2));
  const mx::array seen =
      mx::where(mx::tri(q, q, 0, mx::bool_), between, mx::array(-std::numeric_limits<float>::infinity()));
  const mx::array scores = mx::multiply(mx::matmul(queries, mx::swapaxes(keys, -1, -2)), mx::exp(seen));
  const mx::array older =
      mx::multiply(mx::matmul(queries, mx::swapaxes(state, -1, -2)), mx::exp(mx::expand_dims(decay, -1)));
  const mx::array y = mx::add(mx::matmul(scores, in), older);
  const mx::array whole = mx::slice(decay, {0, 0, q - 1}, decay.shape());  // [B, heads, 1]
  const mx::array left = mx::multiply(in, mx::exp(mx::expand_dims(mx::subtract(whole, decay), -1)));
  state =
      mx::add(mx::multiply(state, mx::exp(mx::expand_dims(whole, -1))), mx::matmul(mx::swapaxes(left, -1, -2), keys));
  return by_head(y);
}

mx::array chunk_of_recurrence(mx::array a, mx::array x, mx::array& state) {
  const int q = x.shape(1);
  for (int step = 1; step < q; step *= 2) {
    const auto behind = [&](const mx::array& v) { return tokens(v, step, q); };
    const mx::array more = mx::add(behind(x), mx::multiply(behind(a), tokens(x, 0, q - step)));
    const mx::array decay = mx::multiply(behind(a), tokens(a, 0, q - step));
    x = mx::concatenate({tokens(x, 0, step), more}, 1);
    a = mx::concatenate({tokens(a, 0, step), decay}, 1);
  }
  const mx::array y = mx::add(x, mx::multiply(a, mx::expand_dims(state, 1)));
  state = mx::squeeze(tokens(y, q - 1, q), 1);
  return y;
}

/// A scan with a separate decay for each state, a linear recurrence of [B, L, states, heads].
Scanned scan_by_state(const SelectiveScan& s) {
  const auto by_head = [](const mx::array& v) { return mx::expand_dims(mx::astype(v, mx::float32), 2); };
  const auto by_state = [](const mx::array& v) { return mx::expand_dims(mx::astype(v, mx::float32), 3); };
  const mx::array dt = mx::expand_dims(time_steps(s), 2), x = by_head(s.x);
  const Scanned scanned = scan(LinearRecurrence{mx::exp(mx::multiply(dt, s.a)),
                                                mx::multiply(mx::multiply(x, dt), by_state(s.b)), s.state, s.lengths});
  const mx::array y =
      mx::add(mx::sum(mx::multiply(scanned.y, by_state(s.c)), 2), mx::multiply(mx::squeeze(x, 2), s.skip));
  return {mx::astype(y, s.x.dtype()), scanned.state};
}

/// Calls body(from, to) for each chunk of `length` tokens and concatenates the results.
template <class Body>
mx::array in_chunks(int length, int chunk, const Body& body) {
  std::vector<mx::array> parts;
  for (int from = 0; from < length; from += chunk) parts.push_back(body(from, std::min(length, from + chunk)));
  return parts.size() == 1 ? parts[0] : mx::concatenate(parts, 1);
}

}  // namespace

Scanned scan(const LinearRecurrence& r) {
  if (const LayerOps& ops = layer_ops(); ops.linear_recurrence && ops.takes(r.x.dtype())) {
    return ops.linear_recurrence(r);
  }
  const mx::array a = within_lengths(r.a, r.lengths, 1), x = within_lengths(r.x, r.lengths, 0);
  mx::Shape shape = x.shape();
  shape.erase(shape.begin() + 1);
  mx::array state = r.state ? *r.state : mx::zeros(shape, x.dtype());
  const mx::array y = in_chunks(x.shape(1), kChunk, [&](int from, int to) {
    return chunk_of_recurrence(tokens(a, from, to), tokens(x, from, to), state);
  });
  return {y, state};
}

Scanned scan(const SelectiveScan& s) {
  if (const LayerOps& ops = layer_ops(); ops.selective_scan && ops.takes(s.x.dtype())) return ops.selective_scan(s);
  if (s.a.ndim() == 2) return scan_by_state(s);
  const int rows = s.x.shape(0), length = s.x.shape(1), heads = s.a.shape(0), dim = s.x.shape(2) / heads;
  const auto split = [&](const mx::array& v, int parts) {
    return mx::astype(mx::reshape(v, {rows, length, parts, v.shape(2) / parts}), mx::float32);
  };
  const mx::array x = split(s.x, heads), b = split(s.b, s.groups), c = split(s.c, s.groups), dt = time_steps(s);
  mx::array state = s.state ? *s.state : mx::zeros({rows, heads, dim, b.shape(3)}, mx::float32);
  const mx::array y = in_chunks(length, kChunk, [&](int from, int to) {
    return chunk_of_scan(tokens(x, from, to), tokens(dt, from, to), tokens(b, from, to), tokens(c, from, to), s.a,
                         state);
  });
  const mx::array whole = mx::add(y, mx::multiply(x, mx::expand_dims(s.skip, -1)));
  return {mx::astype(mx::reshape(whole, s.x.shape()), s.x.dtype()), state};
}

Scanned scan(const DeltaRule& rule) {
  const bool square = rule.v.shape(3) == rule.r.shape(3);
  if (const LayerOps& ops = layer_ops(); square && ops.delta_rule && ops.takes(rule.r.dtype())) {
    return ops.delta_rule(rule);
  }
  const auto whole = [&](const mx::array& v, float rest) {
    return within_lengths(mx::astype(v, mx::float32), rule.lengths, rest);
  };
  const mx::array r = whole(rule.r, 0), w = whole(rule.w, 1), k = whole(rule.k, 0), v = whole(rule.v, 0),
                  a = whole(rule.a, 0), b = whole(rule.b, 0);
  const int rows = r.shape(0), length = r.shape(1), heads = r.shape(2), dim = r.shape(3);
  mx::array state = rule.state ? *rule.state : mx::zeros({rows, heads, v.shape(3), dim}, mx::float32);
  const mx::array y = in_chunks(length, 1, [&](int from, int to) {
    const auto row = [&](const mx::array& x) { return mx::expand_dims(mx::squeeze(tokens(x, from, to), 1), -2); };
    const auto column = [&](const mx::array& x) { return mx::swapaxes(row(x), -1, -2); };
    const mx::array old = mx::sum(mx::multiply(state, row(a)), -1, true);
    state = mx::add(mx::add(mx::multiply(state, row(w)), mx::multiply(column(v), row(k))), mx::multiply(old, row(b)));
    return mx::expand_dims(mx::sum(mx::multiply(state, row(r)), -1), 1);
  });
  return {mx::astype(y, rule.r.dtype()), state};
}

}  // namespace mlxk
