#pragma once

#include <cstddef>

#include "mlx/allocator.h"

namespace mlxk {

namespace mx = mlx::core;

/// A buffer of libmlx's allocator, not initialised; throws memory where libmlx gives a null pointer.
mx::allocator::Data allocate(size_t bytes);

}  // namespace mlxk
