#pragma once

#include "kernels/encoder_layer.h"

namespace mlxk {

/// The layer on the CPU as one operation; x float32. A text's bits depend on its own tokens alone.
mx::array cpu_encoder_layer(const mx::array& x, const EncoderLayerOp& layer);

}  // namespace mlxk
