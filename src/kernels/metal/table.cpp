#include "kernels/metal/table.h"

namespace mlxk {

const LayerOps& metal_layer_ops() {
  static constexpr LayerOps kOps{.name = "metal"};
  return kOps;
}

}  // namespace mlxk
