#include "kernels/device.h"

#include "kernels/cpu/table.h"
#include "kernels/cpu_op.h"
#include "kernels/cuda/table.h"
#include "kernels/metal/table.h"
#include "mlx/backend/cuda/cuda.h"

namespace mlxk {
namespace {

thread_local const LayerOps* in_their_place = nullptr;

}  // namespace

const LayerOps& layer_ops() {
  if (in_their_place) return *in_their_place;
  if (cpu_is_default()) return cpu_layer_ops();
  static const bool is_cuda = mx::cu::is_available();
  return is_cuda ? cuda_layer_ops() : metal_layer_ops();
}

LayerOpsScope::LayerOpsScope(const LayerOps& ops) : before_(in_their_place) { in_their_place = &ops; }

LayerOpsScope::~LayerOpsScope() { in_their_place = before_; }

}  // namespace mlxk
