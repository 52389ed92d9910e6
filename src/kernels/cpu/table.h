#pragma once

#include "kernels/device.h"

namespace mlxk {

/// The operations of the CPU, of float32.
const LayerOps& cpu_layer_ops();

}  // namespace mlxk
