#include "kernels/encoder_layer.h"

#include "kernels/cpu/encoder_layer.h"
#include "kernels/cpu/table.h"

namespace mlxk {

std::optional<mx::array> encoder_layer(const mx::array& x, const EncoderLayerOp& layer) {
  const LayerOps& ops = layer_ops();
  if (&ops != &cpu_layer_ops() || !ops.takes(x.dtype()) || !ops.knows(layer.activation)) return std::nullopt;
  return cpu_encoder_layer(x, layer);
}

}  // namespace mlxk
