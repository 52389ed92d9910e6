#pragma once

#include <optional>
#include <vector>

#include "kernels/cuda/cuda_ops.h"
#include "mlx/array.h"

namespace mlxk {

/// Whether the kernel supports a step: one token in each row, heads of 64, 128 or 256, full rotation
/// tables or none; no explicit mask, no query scales, no norms after the rotation.
bool cuda_attends(const AttentionStep& step);

/// LayerOps::attention_step for those steps. One operation; it returns keys and values like cpu_cached_attention.
AttentionResult cuda_attention_step(AttentionStep step, const std::vector<mx::array>& keys,
                                    const std::vector<mx::array>& values);

}  // namespace mlxk
