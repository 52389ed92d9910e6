#include "nn/mlp.h"

#include "mlx/ops.h"

namespace mlxk {

mx::array add_residual(const mx::array& x, const mx::array& residual, float multiplier) {
  return mx::add(residual, multiplier == 1 ? x : mx::multiply(x, mx::array(multiplier, x.dtype())));
}

mx::array NormLinear::operator()(const mx::array& x) const {
  if (const LayerOps& ops = layer_ops(); ops.matmuls) {
    if (const Packed& layer = packed.of({&linear}, norm)) return ops.matmuls(x, layer).front();
  }
  return linear(norm(x));
}

mx::array MlpResidual::operator()(const mx::array& x) const {
  const LayerOps& ops = layer_ops();
  if (ops.mlp && ops.knows(activation) && !post_norm && multiplier == 1) {
    if (const Packed& layer = packed.of({&up, &down}, norm)) return ops.mlp(x, layer, activation);
  }
  return (*this)(x, x);
}

mx::array MlpResidual::operator()(const mx::array& x, const mx::array& residual) const {
  const mx::array y = down(activate(activation, up(norm ? (*norm)(x) : x)));
  return add_residual(post_norm ? (*post_norm)(y) : y, residual, multiplier);
}

mx::array GatedMlpResidual::operator()(const mx::array& x) const {
  const LayerOps& ops = layer_ops();
  if (ops.gated_mlp && ops.knows(activation) && !inner_norm) {
    if (const Packed& layer = packed.of({&gate, &up, &down}, norm, post_norm)) {
      return ops.gated_mlp(x, layer, activation, multiplier);
    }
  }
  return (*this)(x, x);
}

mx::array GatedMlpResidual::operator()(const mx::array& x, const mx::array& residual) const {
  const mx::array y = inner(norm ? (*norm)(x) : x);
  return add_residual(post_norm ? (*post_norm)(y) : y, residual, multiplier);
}

mx::array GatedMlpResidual::inner(const mx::array& h) const {
  const LayerOps& ops = layer_ops();
  const Packed layer = ops.matmuls ? packed_inner.of({&gate, &up}, std::nullopt) : nullptr;
  const auto parts = layer ? ops.matmuls(h, layer) : std::vector<mx::array>{gate(h), up(h)};
  const mx::array y = activate_gated(activation, parts[0], parts[1]);
  return down(inner_norm ? (*inner_norm)(y) : y);
}

}  // namespace mlxk
