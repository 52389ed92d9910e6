#pragma once

#include <vector>

#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// Rearranging patches into fewer and longer vectors. x is a grid [height, width, dims] as [1, height * width, dims].

/// Concatenates blocks of scale × scale patches, row by row: [1, L / scale², dims * scale²] (Idefics 3, SmolVLM).
/// Throws invalid unless both sides are multiples of `scale`.
mx::array pixel_shuffle(const mx::array& x, int height, int width, int scale);

/// The same with the channels outermost in each vector: (dims, scale, scale), as in torch's unfold.
mx::array unfold(const mx::array& x, int height, int width, int scale);

/// Means of scale × scale patches: [1, L / scale², dims].
mx::array average_pool(const mx::array& x, int height, int width, int scale);

/// Joins `rows` × `columns` tiles to a sheet, each [1, side * side, dims] → [rows * side, columns * side, dims].
mx::array sheet_of(const std::vector<mx::array>& tiles, int rows, int columns, int side);

/// A sheet [rows, columns, dims] with `end` [dims] after each row: [rows * (columns + 1), dims].
mx::array with_row_ends(const mx::array& sheet, const mx::array& end);

}  // namespace mlxk
