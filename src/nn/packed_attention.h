#pragma once

#include <vector>

#include "kernels/packed_attention.h"
#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// softmax(scale · q kᵀ + bias) v within each of the sequences: no token sees another sequence, and a sequence's result
/// is the same alone as beside others. Returns q's shape.
mx::array attend_within(const PackedAttention& attention);

/// The position of each token in its sequence, [tokens] int32, counted from `first`.
mx::array packed_positions(const std::vector<int>& lengths, int first = 0);

}  // namespace mlxk
