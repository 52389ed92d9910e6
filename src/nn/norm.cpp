#include "nn/norm.h"

#include "mlx/fast.h"
#include "mlx/ops.h"

namespace mlxk {
namespace {

mx::array factor(const WeightPath& path, int dims, bool plus_one) {
  mx::array weight = path.take("weight", {dims});
  return plus_one ? mx::add(mx::array(1.0F, weight.dtype()), weight) : weight;
}

/// The device's operation for rows like those of `x`, or null.
decltype(LayerOps::norm) own_norm(const mx::array& x) {
  const LayerOps& ops = layer_ops();
  return ops.norm && ops.takes(x.dtype()) ? ops.norm : nullptr;
}

}  // namespace

RmsNorm::RmsNorm(const WeightPath& path, int dims, float eps, bool plus_one)
    : weight_(factor(path, dims, plus_one)), eps_(eps) {}

RmsNorm::RmsNorm(int dims, float eps) : weight_(mx::ones({dims}, mx::float32)), eps_(eps), plain_(true) {}

mx::array RmsNorm::operator()(const mx::array& x) const {
  if (const auto norm = own_norm(x)) return norm(x, weights());
  return mx::fast::rms_norm(x, plain_ ? std::nullopt : std::optional(weight_), eps_);
}

LayerNorm::LayerNorm(const WeightPath& path, int dims, float eps, bool bias, bool plus_one)
    : weight_(factor(path, dims, plus_one)), eps_(eps) {
  if (bias) bias_ = path.take("bias", {dims});
}

LayerNorm::LayerNorm(int dims, float eps) : weight_(mx::ones({dims}, mx::float32)), eps_(eps), plain_(true) {}

mx::array LayerNorm::operator()(const mx::array& x) const {
  if (const auto norm = own_norm(x)) return norm(x, weights());
  return mx::fast::layer_norm(x, plain_ ? std::nullopt : std::optional(weight_), bias_, eps_);
}

}  // namespace mlxk
