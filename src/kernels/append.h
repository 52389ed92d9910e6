#pragma once

#include "mlx/array.h"

namespace mlxk {

/// Returns `buffer` [B, heads, capacity, …] with `part` [B or 1, heads, length, …] written to the slots from `slot` on,
/// of every row or (if part has one row) of `row`. On CPU it writes in place even if others hold the buffer: the caller
/// guarantees that nobody reads the old content of those slots. slice_update would copy the whole buffer while an
/// earlier step that reads it is still running. Other devices use slice_update. On the worker thread; `buffer` must be
/// row-contiguous.
mlx::core::array append_in_place(const mlx::core::array& buffer, const mlx::core::array& part, int row, int slot);

}  // namespace mlxk
