#pragma once

#include <cstddef>

#include "mlx/allocator.h"

namespace mlxk {

namespace mx = mlx::core;

/// An uninitialised buffer from libmlx's allocator; throws memory if libmlx returns a null pointer.
mx::allocator::Data allocate(size_t bytes);

}  // namespace mlxk
