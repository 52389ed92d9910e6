#pragma once

#include <cstdint>

namespace mlxk {

/// The most bytes of unpacked weights that the CPU's kernels keep for the encoders of all loaded models.
inline constexpr int64_t kMostKeptPanels = int64_t{256} << 20;

}  // namespace mlxk
