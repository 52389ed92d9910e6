#pragma once

#include "nn/weights.h"

namespace mlxk {

/// Unpacks the 8-bit floats (E4M3) in which some publishers distribute their weights: `X`, with scales in `X_scale_inv`
/// (one in all, one for each matrix of a stack, or one for each block of 128 × 128), becomes bfloat16, as computed by
/// mlx-lm. Activation scales are dropped. Evaluates nothing; throws bad_model naming scales that do not match.
void unpack_float8(Weights::Tensors& tensors);

}  // namespace mlxk
