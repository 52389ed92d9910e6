#pragma once

#include "kernels/device.h"

namespace mlxk {

/// The operations of CUDA: each entry has a file of its own beside this one.
const LayerOps& cuda_layer_ops();

}  // namespace mlxk
