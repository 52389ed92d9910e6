#pragma once

#include <optional>

#include "kernels/cpu/ops.h"
#include "mlx/array.h"

namespace mlxk {

/// The root mean square norm of each row of x [..., columns] float32 on the CPU. One operation.
mx::array cpu_rms_norm(const mx::array& x, const NormWeights& norm);

/// (x - mean) / sqrt(variance + eps) · weight + bias of each row of x [..., columns] float32; weight and bias [columns]
/// float32 or none. One operation.
mx::array cpu_layer_norm(const mx::array& x, const std::optional<mx::array>& weight,
                         const std::optional<mx::array>& bias, float eps);

}  // namespace mlxk
