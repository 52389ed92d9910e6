#pragma once

#include <utility>

#include "kernels/device.h"

namespace mlxk {

/// LayerOps::latent_heads and LayerOps::head_matmul on the CPU, for float32. One operation each.
std::pair<mx::array, mx::array> cpu_latent_heads(const LatentHeads& heads);
mx::array cpu_head_matmul(const mx::array& x, const Packed& stack);

}  // namespace mlxk
