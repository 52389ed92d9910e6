#include "nn/norm.h"

#include "kernels/cpu_norm.h"
#include "mlx/fast.h"
#include "mlx/ops.h"

namespace mlxk {

RmsNorm::RmsNorm(const WeightPath& path, int dims, float eps, bool plus_one)
    : weight_(path.take("weight", {dims})), eps_(eps) {
  if (plus_one) weight_ = mx::add(mx::array(1.0F, weight_.dtype()), weight_);
}

mx::array RmsNorm::operator()(const mx::array& x) const {
  if (cpu_is_default() && x.dtype() == mx::float32) return cpu_rms_norm(x, cpu());
  return mx::fast::rms_norm(x, weight_, eps_);
}

LayerNorm::LayerNorm(const WeightPath& path, int dims, float eps, bool bias)
    : weight_(path.take("weight", {dims})), eps_(eps) {
  if (bias) bias_ = path.take("bias", {dims});
}

mx::array LayerNorm::operator()(const mx::array& x) const {
  if (cpu_is_default() && x.dtype() == mx::float32) return cpu_layer_norm(x, weight_, bias_, eps_);
  return mx::fast::layer_norm(x, weight_, bias_, eps_);
}

}  // namespace mlxk
