#pragma once

#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// At least `count` counters (uint32) that are zero before and after every kernel. Declare them as written
/// (CudaLaunches), so that two uses follow each other. Worker thread.
const mx::array& cuda_counters(int count);

}  // namespace mlxk
