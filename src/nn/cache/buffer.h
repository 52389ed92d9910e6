#pragma once

#include <optional>
#include <span>
#include <vector>

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

/// The named rows of `buffer`.
mx::array rows_of(const mx::array& buffer, std::span<const int> rows);

/// The buffers `first` with their `first_rows` rows, and behind them the rows of `second`, padded to the larger
/// capacity; an empty list stands for rows without tokens.
std::vector<mx::array> joined_rows(const std::vector<mx::array>& first, int first_rows,
                                   const std::vector<mx::array>& second, int second_rows);

}  // namespace mlxk
