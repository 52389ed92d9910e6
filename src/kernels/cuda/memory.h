#pragma once

#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// Memory for our operations' outputs: libmlx's own allocator offers only managed memory. Released buffers are kept for
/// reuse by size. `on_host`: pinned, for outputs that the host reads directly. Throws Error(memory).
mx::allocator::Data cuda_memory(size_t bytes, bool on_host = false);
/// Memory that returns to the card when it is released, for weights.
mx::allocator::Data cuda_memory_of_weights(size_t bytes);

}  // namespace mlxk
