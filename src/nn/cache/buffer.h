#pragma once

#include <optional>

#include "mlx/array.h"
#include "nn/positions.h"

namespace mlxk {

namespace mx = mlx::core;

/// `buffer` [B, heads, capacity, dim] with zeros added up to `capacity` tokens; an absent one is made like `sample`.
mx::array grown(const std::optional<mx::array>& buffer, int capacity, const mx::array& sample);

/// Writes the `length` tokens of `part` [B, heads, L, dim] from `from` on into slots from `slot` on; in place when
/// nobody else holds `buffer`. `row` -1: every row.
void write_slots(mx::array& buffer, const mx::array& part, int row, int slot, int from, int length);

/// Tokens [from, from + length) of `part`, of `row` or (-1) of every row, a view.
mx::array slots_of(const mx::array& part, int row, int from, int length);

/// Tokens [0, length) of every row, a view.
mx::array first_tokens(const mx::array& buffer, int length);

/// A copy in memory of its own, evaluated: what is written to the original in place does not reach it.
mx::array copied(const mx::array& buffer);

/// Row `row` of `x` [B, ...] as [1, ...], a view.
mx::array row_of(const mx::array& x, int row);

}  // namespace mlxk
