#include "kernels/packed_attention.h"

#include "kernels/cpu/packed_attention.h"
#include "kernels/cpu/table.h"

namespace mlxk {

std::optional<mx::array> packed_attention(const PackedAttention& attention) {
  const LayerOps& ops = layer_ops();
  if (&ops != &cpu_layer_ops() || !ops.takes(attention.q.dtype())) return std::nullopt;
  return cpu_packed_attention(attention);
}

}  // namespace mlxk
