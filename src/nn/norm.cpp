#include "nn/norm.h"

#include "mlx/fast.h"
#include "mlx/ops.h"

namespace mlxk {

RmsNorm::RmsNorm(const WeightPath& path, int dims, float eps, bool plus_one)
    : weight_(path.take("weight", {dims})), eps_(eps) {
  if (plus_one) weight_ = mx::add(mx::array(1.0F, weight_.dtype()), weight_);
}

mx::array RmsNorm::operator()(const mx::array& x) const { return mx::fast::rms_norm(x, weight_, eps_); }

}  // namespace mlxk
