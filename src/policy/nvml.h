#pragma once

#include <optional>

#include "policy/machine.h"

namespace mlxk {

/// Memory of the GPU that CUDA takes first (CUDA_VISIBLE_DEVICES honoured), asked from the driver's NVML library, which
/// is opened at run time; no CUDA context is made. Nothing when there is no driver or no GPU.
std::optional<Memory> nvml_memory();

}  // namespace mlxk
