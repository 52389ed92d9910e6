#pragma once

#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// Counters (uint32) that kernels find at zero and leave at zero: at least `count`. Whoever uses them writes them
/// (CudaLaunches), so that two uses follow each other. Worker thread.
const mx::array& cuda_counters(int count);

}  // namespace mlxk
