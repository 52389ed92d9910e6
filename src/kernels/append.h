#pragma once

#include "mlx/array.h"

namespace mlxk {

/// `buffer` [B, heads, capacity, …] with `part` [B or 1, heads, length, …] written to the slots from `slot` on, of
/// every row or (part of one row) of `row`. On CPU it writes in place whoever else holds the buffer: the caller vouches
/// that nobody will read those slots' old content. slice_update would copy all of it while an earlier step that reads
/// the buffer is still running. Elsewhere it is slice_update. On the worker thread; `buffer` must be row-contiguous.
mlx::core::array append_in_place(const mlx::core::array& buffer, const mlx::core::array& part, int row, int slot);

}  // namespace mlxk
