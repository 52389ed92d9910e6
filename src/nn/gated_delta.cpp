#include "nn/gated_delta.h"

#include <cmath>

#include "mlx/ops.h"
#include "nn/activation.h"
#include "nn/scan.h"

namespace mlxk {
namespace {

constexpr float kUnitEps = 1e-6F;  // added to a key's squared norm

/// [B, L, heads * dim] as [B, L, heads, dim] float32.
mx::array by_heads(const mx::array& x, int heads) { return mx::astype(mx::unflatten(x, -1, {heads, -1}), mx::float32); }

}  // namespace

GatedDelta::GatedDelta(const WeightPath& path, const Dims& dims)
    : dims_(dims),
      rate_(mx::negative(mx::exp(mx::astype(path.take("A_log", {dims.value_heads}), mx::float32)))),
      dt_bias_(
          mx::astype(path.take("dt_bias", {dims.value_heads * (dims.by_channel ? dims.key_dim : 1)}), mx::float32)),
      unit_(dims.key_dim, kUnitEps / static_cast<float>(dims.key_dim)) {
  const int decays = dims.by_channel ? dims.key_dim : 1;
  rate_ = mx::reshape(rate_, {dims.value_heads, 1});
  dt_bias_ = mx::reshape(dt_bias_, {dims.value_heads, decays});
}

mx::array GatedDelta::operator()(const Inputs& in, RecurrentCache& cache, int index, const Positions& positions) const {
  const auto& d = dims_;
  const auto serving = [&](const mx::array& x) {
    return d.value_heads == d.key_heads ? x : mx::repeat(x, d.value_heads / d.key_heads, 2);
  };
  const float scale = 1 / std::sqrt(static_cast<float>(d.key_dim));
  const mx::array q = serving(mx::multiply(unit_(by_heads(in.q, d.key_heads)), mx::array(scale * scale)));
  const mx::array k = serving(mx::multiply(unit_(by_heads(in.k, d.key_heads)), mx::array(scale)));
  const mx::array steps = activate(Activation::softplus, mx::add(by_heads(in.a, d.value_heads), dt_bias_));
  const mx::array decay = mx::broadcast_to(mx::exp(mx::multiply(rate_, steps)), k.shape());
  mx::array beta = mx::sigmoid(by_heads(in.b, d.value_heads));
  if (d.beta_scale != 1) beta = mx::multiply(beta, mx::array(d.beta_scale));
  const Scanned scanned = scan(DeltaRule{.r = q,
                                         .w = decay,
                                         .k = k,
                                         .v = mx::multiply(by_heads(in.v, d.value_heads), beta),
                                         .a = mx::multiply(k, decay),
                                         .b = mx::negative(mx::multiply(k, beta)),
                                         .state = cache.state(index),
                                         .lengths = positions.lengths});
  cache.set_state(index, scanned.state);
  return mx::astype(mx::flatten(scanned.y, -2, -1), in.v.dtype());
}

}  // namespace mlxk
