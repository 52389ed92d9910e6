#pragma once

#include <optional>

#include "policy/machine.h"

namespace mlxk {

/// Memory of the GPU that CUDA uses first (CUDA_VISIBLE_DEVICES honoured), from the driver's NVML library, which is
/// opened at run time; no CUDA context is made. nullopt if there is no driver or no GPU.
std::optional<Memory> nvml_memory();

}  // namespace mlxk
