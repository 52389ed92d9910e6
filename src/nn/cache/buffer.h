#pragma once

#include <optional>

#include "mlx/array.h"
#include "nn/positions.h"

namespace mlxk {

namespace mx = mlx::core;

/// Returns `buffer` [B, heads, capacity, dim] padded with zeros to `capacity` tokens; an absent one is made in the
/// shape of `sample`.
mx::array grown(const std::optional<mx::array>& buffer, int capacity, const mx::array& sample);

/// Writes the `length` tokens of `part` [B, heads, L, dim] from token `from` into the slots from `slot`; in place
/// unless something else holds `buffer`. `row` -1: every row.
void write_slots(mx::array& buffer, const mx::array& part, int row, int slot, int from, int length);

/// A view of tokens [from, from + length) of `part`, of `row` or (-1) of every row.
mx::array slots_of(const mx::array& part, int row, int from, int length);

/// A view of tokens [0, length) of every row.
mx::array first_tokens(const mx::array& buffer, int length);

/// An evaluated copy in its own memory: writing in place to the original does not change it.
mx::array copied(const mx::array& buffer);

/// A view of row `row` of `x` [B, ...] as [1, ...].
mx::array row_of(const mx::array& x, int row);

}  // namespace mlxk
