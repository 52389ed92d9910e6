#include "nn/mlp.h"

#include "mlx/ops.h"

namespace mlxk {

mx::array add_residual(const mx::array& x, const mx::array& residual, float multiplier) {
  return mx::add(residual, multiplier == 1 ? x : mx::multiply(x, mx::array(multiplier, x.dtype())));
}

mx::array NormLinear::operator()(const mx::array& x) const {
  if (const auto& layer = packed.of({&linear}, norm)) return cpu_matmuls(x, layer).front();
  return linear(norm(x));
}

mx::array MlpResidual::operator()(const mx::array& x) const {
  const auto number = activation.kernel_number();
  if (number && !post_norm && multiplier == 1) {
    if (const auto& layer = packed.of({&up, &down}, norm)) return cpu_mlp(x, layer, *number);
  }
  return (*this)(x, x);
}

mx::array MlpResidual::operator()(const mx::array& x, const mx::array& residual) const {
  const mx::array y = down(activate(activation, up(norm ? (*norm)(x) : x)));
  return add_residual(post_norm ? (*post_norm)(y) : y, residual, multiplier);
}

mx::array GatedMlpResidual::operator()(const mx::array& x) const {
  const auto number = activation.kernel_number();
  if (number && !inner_norm) {
    if (const auto& layer = packed.of({&gate, &up, &down}, norm, post_norm)) {
      return cpu_gated_mlp(x, layer, *number, multiplier);
    }
  }
  return (*this)(x, x);
}

mx::array GatedMlpResidual::operator()(const mx::array& x, const mx::array& residual) const {
  const mx::array y = inner(norm ? (*norm)(x) : x);
  return add_residual(post_norm ? (*post_norm)(y) : y, residual, multiplier);
}

mx::array GatedMlpResidual::inner(const mx::array& h) const {
  const auto& layer = packed_inner.of({&gate, &up}, std::nullopt);
  const auto parts = layer ? cpu_matmuls(h, layer) : std::vector<mx::array>{gate(h), up(h)};
  const mx::array y = activate_gated(activation, parts[0], parts[1]);
  return down(inner_norm ? (*inner_norm)(y) : y);
}

}  // namespace mlxk
