#include "kernels/cpu/scan.h"

#include <fmt/format.h>

#include <stdexcept>

#include "cpu/scan.h"
#include "kernels/cpu_op.h"

namespace mlxk {
namespace {

void check(bool fits, const char* what) {
  if (!fits) throw std::invalid_argument(fmt::format("[scan] {}", what));
}

std::vector<int64_t> checked_lengths(const std::vector<int>& lengths, const mx::array& x) {
  check(lengths.size() == static_cast<size_t>(x.shape(0)), "lengths must have an entry a row");
  for (const int length : lengths) check(length >= 0 && length <= x.shape(1), "lengths must be within the tokens");
  return {lengths.begin(), lengths.end()};
}

/// Inputs of an operation, some of which may be absent.
struct Inputs {
  int add(const mx::array& array) {
    check(array.dtype() == mx::float32, "arrays must be float32");
    arrays.push_back(array);
    return static_cast<int>(arrays.size()) - 1;
  }
  int add(const std::optional<mx::array>& array) { return array ? add(*array) : -1; }

  Arrays arrays;
};

/// The vectors of x [B, L, n]: in place, or copied.
TokenVectors vectors_of(const mx::array& x, Scratch& copy) {
  if (x.strides()[2] == 1) return {x.data<float>(), x.strides()[0], x.strides()[1]};
  return {row_major(x, copy), int64_t{x.shape(1)} * x.shape(2), x.shape(2)};
}

const float* floats_of(const Arrays& in, int at, Scratch& copy) {
  return at < 0 ? nullptr : row_major(in[static_cast<size_t>(at)], copy);
}

Scanned two_outputs(const char* name, Compute compute, Arrays inputs, const mx::Shape& y, const mx::Shape& state) {
  auto made = mx::array::make_arrays({y, state}, {mx::float32, mx::float32}, cpu_op(name, std::move(compute)), inputs);
  return {made[0], made[1]};
}

}  // namespace

Scanned cpu_selective_scan(const SelectiveScan& s) {
  const int rows = s.x.shape(0), length = s.x.shape(1), heads = s.a.shape(-1);
  check(s.x.ndim() == 3 && heads > 0 && s.x.shape(2) % heads == 0, "x must be [B, L, heads * dim]");
  const int dim = s.x.shape(2) / heads;
  check(s.groups > 0 && heads % s.groups == 0 && s.b.ndim() == 3 && s.b.shape(2) % s.groups == 0,
        "b must be [B, L, groups * states]");
  const int states = s.b.shape(2) / s.groups;
  const bool by_state = s.a.ndim() == 2;
  check(s.dt.shape() == mx::Shape{rows, length, heads}, "dt must be [B, L, heads]");
  check(s.b.shape() == mx::Shape{rows, length, s.groups * states} && s.c.shape() == s.b.shape(),
        "b and c must be alike");
  check(s.a.shape() == (by_state ? mx::Shape{states, heads} : mx::Shape{heads}) &&
            (!by_state || (dim == 1 && s.groups == 1)),
        "a must be [heads], or [states, heads] where dim and groups are 1");
  check(s.skip.shape() == mx::Shape{heads} && (!s.dt_bias || s.dt_bias->shape() == mx::Shape{heads}),
        "skip and dt_bias must be [heads]");
  const mx::Shape state = by_state ? mx::Shape{rows, states, heads} : mx::Shape{rows, heads, dim, states};
  check(!s.state || s.state->shape() == state, "the state must be [B, heads, dim, states], or [B, states, heads]");
  Inputs inputs;
  for (const auto* array : {&s.x, &s.dt, &s.b, &s.c, &s.a, &s.skip}) inputs.add(*array);
  const int bias_at = inputs.add(s.dt_bias), state_at = inputs.add(s.state);
  auto compute = [=, lengths = checked_lengths(s.lengths, s.x), groups = s.groups, dt_min = s.dt_min,
                  dt_max = s.dt_max](const Arrays& in, Arrays& out) {
    static Scratch copies[8];
    selective_scan({.rows = rows,
                    .length = length,
                    .heads = heads,
                    .dim = dim,
                    .groups = groups,
                    .states = states,
                    .lengths = lengths.data(),
                    .x = vectors_of(in[0], copies[0]),
                    .dt = vectors_of(in[1], copies[1]),
                    .b = vectors_of(in[2], copies[2]),
                    .c = vectors_of(in[3], copies[3]),
                    .a = row_major(in[4], copies[4]),
                    .by_state = by_state,
                    .dt_bias = floats_of(in, bias_at, copies[6]),
                    .skip = row_major(in[5], copies[5]),
                    .dt_min = dt_min,
                    .dt_max = dt_max,
                    .before = floats_of(in, state_at, copies[7]),
                    .h = out[1].data<float>(),
                    .y = out[0].data<float>()});
  };
  return two_outputs("CpuSelectiveScan", std::move(compute), std::move(inputs.arrays), s.x.shape(), state);
}

Scanned cpu_delta_rule(const DeltaRule& rule) {
  const mx::Shape shape = rule.r.shape();
  check(shape.size() == 4, "r must be [B, L, heads, dim]");
  const int rows = shape[0], length = shape[1], heads = shape[2], dim = shape[3];
  Inputs inputs;
  for (const auto* array : {&rule.r, &rule.w, &rule.k, &rule.v, &rule.a, &rule.b}) {
    check(array->shape() == shape, "r, w, k, v, a and b must be alike");
    inputs.add(*array);
  }
  const mx::Shape state{rows, heads, dim, dim};
  check(!rule.state || rule.state->shape() == state, "the state must be [B, heads, dim, dim]");
  const int state_at = inputs.add(rule.state);
  auto compute = [=, lengths = checked_lengths(rule.lengths, rule.r)](const Arrays& in, Arrays& out) {
    static Scratch copies[7];
    const auto floats = [&](int i) { return floats_of(in, i, copies[i < 0 ? 0 : i]); };
    delta_rule({.rows = rows,
                .length = length,
                .heads = heads,
                .dim = dim,
                .lengths = lengths.data(),
                .r = floats(0),
                .w = floats(1),
                .k = floats(2),
                .v = floats(3),
                .a = floats(4),
                .b = floats(5),
                .before = floats(state_at),
                .h = out[1].data<float>(),
                .y = out[0].data<float>()});
  };
  return two_outputs("CpuDeltaRule", std::move(compute), std::move(inputs.arrays), shape, state);
}

Scanned cpu_linear_recurrence(const LinearRecurrence& r) {
  const mx::Shape shape = r.x.shape();
  check(shape.size() >= 2 && r.a.shape() == shape, "a and x must be [B, L, ...]");
  mx::Shape state = shape;
  state.erase(state.begin() + 1);
  check(!r.state || r.state->shape() == state, "the state must be [B, ...]");
  Inputs inputs;
  inputs.add(r.a);
  inputs.add(r.x);
  const int state_at = inputs.add(r.state);
  auto compute = [=, lengths = checked_lengths(r.lengths, r.x)](const Arrays& in, Arrays& out) {
    static Scratch copies[3];
    const int64_t rows = shape[0], length = shape[1];
    linear_recurrence(rows, length, static_cast<int64_t>(in[1].size()) / (rows * length), lengths.data(),
                      row_major(in[0], copies[0]), row_major(in[1], copies[1]), floats_of(in, state_at, copies[2]),
                      out[1].data<float>(), out[0].data<float>());
  };
  return two_outputs("CpuLinearRecurrence", std::move(compute), std::move(inputs.arrays), shape, state);
}

}  // namespace mlxk
