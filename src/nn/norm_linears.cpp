#include "nn/norm_linears.h"

namespace mlxk {

std::vector<mx::array> NormLinears::operator()(const mx::array& x) const {
  if (const LayerOps& ops = layer_ops(); ops.matmuls) {
    std::vector<const Linear*> all;
    for (const Linear& linear : linears) all.push_back(&linear);
    if (const Packed& layer = packed.of(all, norm)) return ops.matmuls(x, layer);
  }
  const mx::array h = norm ? (*norm)(x) : x;
  std::vector<mx::array> parts;
  for (const Linear& linear : linears) parts.push_back(linear(h));
  return parts;
}

}  // namespace mlxk
