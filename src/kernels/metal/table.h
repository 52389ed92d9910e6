#pragma once

#include "kernels/device.h"

namespace mlxk {

/// The operations of Metal: each entry has a file of its own beside this one.
const LayerOps& metal_layer_ops();

}  // namespace mlxk
