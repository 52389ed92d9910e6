#include "kernels/patch_rotation.h"

#include "kernels/cpu/patch_rotation.h"
#include "kernels/cpu/table.h"

namespace mlxk {

std::optional<mx::array> rotate_patches(const mx::array& x, const mx::array& cos, const mx::array& sin, int groups,
                                        bool neighbours) {
  const LayerOps& ops = layer_ops();
  if (&ops != &cpu_layer_ops() || !ops.takes(x.dtype())) return std::nullopt;
  return cpu_rotate_patches(x, cos, sin, groups, neighbours);
}

}  // namespace mlxk
