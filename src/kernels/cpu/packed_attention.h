#pragma once

#include "kernels/packed_attention.h"

namespace mlxk {

/// Attention within each of the sequences, float32 on the CPU, as one operation. A token's bits depend on its own
/// sequence alone.
mx::array cpu_packed_attention(PackedAttention attention);

}  // namespace mlxk
