#pragma once

#include <optional>
#include <vector>

#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// The positions of one call's tokens: `length` of them in each row, from the row's offset on.
struct Positions {
  /// Rows that continue at `offsets`, of which the first `lengths` tokens are valid (empty: all `length`). `given` ([B,
  /// L] or [3, B, L] int32) replaces the positions for rope only.
  Positions(std::vector<int> offsets, int length, std::vector<int> lengths = {},
            std::optional<mx::array> given = std::nullopt);

  int rows() const { return static_cast<int>(offsets.size()); }
  /// The position after the row's last token.
  int end(int row) const { return offsets[row] + lengths[row]; }
  /// [B, L] int32: consecutive positions from each row's offset.
  mx::array order() const;

  std::vector<int> offsets;
  int length;                             // L
  std::vector<int> lengths;               // valid tokens of each row's L
  bool uniform;                           // every row has the same offset and length
  std::optional<mx::array> offset_array;  // [B] int32, unless uniform
  std::optional<mx::array> given;
};

}  // namespace mlxk
