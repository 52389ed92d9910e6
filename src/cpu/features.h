#pragma once

#include <string_view>
#include <vector>

#include "cpu/isa/table.h"

namespace mlxk {

/// The tables that this machine can run, best first. Any thread.
const std::vector<const CpuKernels*>& available_kernels();

/// The table in use: the best one, or the one that MLXK_CPU_ISA names; throws usage if that is not available.
const CpuKernels& cpu_kernels();

}  // namespace mlxk
