#pragma once

#include "nn/weights.h"

namespace mlxk {

/// Multiplies out the 8-bit floats (E4M3) that some makers publish their weights in: `X`, whose scales are
/// `X_scale_inv` (one for all, one for each matrix of a stack, or one for each block of 128 × 128), becomes bfloat16,
/// as mlx-lm computes it. Scales of activations are dropped. Evaluates nothing; throws bad_model naming scales that do
/// not fit.
void unpack_float8(Weights::Tensors& tensors);

}  // namespace mlxk
