#include "nn/mamba.h"

#include <limits>

#include "mlx/ops.h"
#include "nn/scan.h"

namespace mlxk {
namespace {

mx::array take_float(const WeightPath& path, const char* name, const mx::Shape& shape) {
  return mx::astype(path.take(name, shape), mx::float32);
}

/// The decay rates of the states: -exp(A_log).
mx::array take_decay(const WeightPath& path, const mx::Shape& shape) {
  return mx::negative(mx::exp(take_float(path, "A_log", shape)));
}

}  // namespace

Mamba2Residual::Mamba2Residual(const Mamba2Config& c, const WeightPath& path, std::optional<Norm> in_norm,
                               float multiplier)
    : config_(c),
      in_{std::move(in_norm),
          Linear(path / "in_proj", c.hidden_size, 2 * c.width() + 2 * c.groups * c.state_size + c.heads, c.in_bias)
              .split({c.width(), c.width() + 2 * c.groups * c.state_size, c.heads})},
      conv_(path / "conv1d", in_.linears[1].out(), c.kernel, c.conv_bias, Activation::silu),
      a_(take_decay(path, {c.heads})),
      skip_(take_float(path, "D", {c.heads})),
      dt_bias_(take_float(path, "dt_bias", {c.heads})),
      out_{Linear(path / "out_proj", c.width(), c.hidden_size, c.out_bias), std::nullopt, multiplier} {
  if (c.norm_groups == 0) return;
  if (c.norm_groups == 1 && !c.norm_before_gate) {
    out_.in_norm = RmsNorm(path / "norm", c.width(), c.norm_eps);
  } else {
    group_norm_ = RmsNorm(c.width() / c.norm_groups, c.norm_eps);
    group_factor_ = (path / "norm").take("weight", {c.width()});
  }
}

mx::array Mamba2Residual::gated(const mx::array& y, const mx::array& gate) const {
  if (!group_norm_) return activate_gated(Activation::silu, gate, y);
  const auto normed = [&](const mx::array& v) {
    const mx::array parts = (*group_norm_)(mx::reshape(v, {v.shape(0), v.shape(1), config_.norm_groups, -1}));
    return mx::multiply(mx::reshape(parts, v.shape()), *group_factor_);
  };
  if (config_.norm_before_gate) return activate_gated(Activation::silu, gate, normed(y));
  return normed(activate_gated(Activation::silu, gate, y));
}

mx::array Mamba2Residual::operator()(const mx::array& x, RecurrentCache& cache, const LayerInputs& in,
                                     const std::optional<mx::array>& residual) const {
  const std::vector<mx::array> parts = in_(x);
  const mx::array convolved = conv_(parts[1], cache, 0, in.positions);
  const int width = config_.width(), keys = config_.groups * config_.state_size;
  const auto xbc = mx::split(convolved, mx::Shape{width, width + keys}, -1);
  const Scanned scanned = scan(SelectiveScan{.x = xbc[0],
                                             .dt = parts[2],
                                             .b = xbc[1],
                                             .c = xbc[2],
                                             .groups = config_.groups,
                                             .a = a_,
                                             .skip = skip_,
                                             .dt_bias = dt_bias_,
                                             .dt_min = config_.dt_min,
                                             .dt_max = config_.dt_max,
                                             .state = cache.state(1),
                                             .lengths = in.positions.lengths});
  cache.set_state(1, scanned.state);
  cache.advance(in.positions);
  return out_(gated(scanned.y, parts[0]), residual ? *residual : x);
}

MambaResidual::MambaResidual(const MambaConfig& c, const WeightPath& path, Norm in_norm, std::optional<Norm> dt_norm,
                             std::optional<Norm> b_norm, std::optional<Norm> c_norm)
    : config_(c),
      in_{std::move(in_norm), Linear(path / "in_proj", c.hidden_size, 2 * c.width, c.bias)},
      conv_(path / "conv1d", c.width, c.kernel, c.conv_bias, Activation::silu),
      x_(path / "x_proj", c.width, c.time_step_rank + 2 * c.state_size),
      dt_(path / "dt_proj", c.time_step_rank, c.width, true),
      dt_norm_(std::move(dt_norm)),
      b_norm_(std::move(b_norm)),
      c_norm_(std::move(c_norm)),
      a_(mx::contiguous(mx::transpose(take_decay(path, {c.width, c.state_size})))),
      skip_(take_float(path, "D", {c.width})),
      out_{Linear(path / "out_proj", c.width, c.hidden_size, c.bias)} {}

mx::array MambaResidual::operator()(const mx::array& x, RecurrentCache& cache, const LayerInputs& in) const {
  const auto parts = mx::split(in_(x), 2, -1);
  const mx::array h = conv_(parts[0], cache, 0, in.positions);
  const int rank = config_.time_step_rank;
  const auto selected = mx::split(x_(h), mx::Shape{rank, rank + config_.state_size}, -1);
  const auto normed = [&](size_t i, const std::optional<Norm>& norm) {
    return norm ? (*norm)(selected[i]) : selected[i];
  };
  const Scanned scanned = scan(SelectiveScan{.x = h,
                                             .dt = dt_(normed(0, dt_norm_)),
                                             .b = normed(1, b_norm_),
                                             .c = normed(2, c_norm_),
                                             .groups = 1,
                                             .a = a_,
                                             .skip = skip_,
                                             .dt_bias = std::nullopt,
                                             .dt_min = 0,
                                             .dt_max = std::numeric_limits<float>::infinity(),
                                             .state = cache.state(1),
                                             .lengths = in.positions.lengths});
  cache.set_state(1, scanned.state);
  cache.advance(in.positions);
  return out_(activate_gated(Activation::silu, parts[1], scanned.y), x);
}

}  // namespace mlxk
