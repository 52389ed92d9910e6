#pragma once

#include <optional>
#include <vector>

#include "kernels/cuda/cuda_ops.h"
#include "mlx/array.h"

namespace mlxk {

/// Whether the kernel does a step: one token of each of up to 64 rows, heads of 64, 128 or 256, full rotation tables or
/// none; no mask of its own, no scales of queries, no norms after the rotation.
bool cuda_attends(const AttentionStep& step);

/// LayerOps::attention_step for those. One operation; its keys and values as cpu_cached_attention's.
AttentionResult cuda_attention_step(AttentionStep step, const std::vector<mx::array>& keys,
                                    const std::vector<mx::array>& values);

}  // namespace mlxk
