#pragma once

#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// Memory for what our operations write: libmlx's own allocator gives others managed memory only. Buffers that are let
/// go are kept for the next of their size. `on_host`: pinned, for what the host reads at once. Throws Error(memory).
mx::allocator::Data cuda_memory(size_t bytes, bool on_host = false);

}  // namespace mlxk
