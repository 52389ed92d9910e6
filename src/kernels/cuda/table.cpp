#include "kernels/cuda/table.h"

namespace mlxk {

const LayerOps& cuda_layer_ops() {
  static constexpr LayerOps kOps{.name = "cuda"};
  return kOps;
}

}  // namespace mlxk
