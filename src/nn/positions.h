#pragma once

#include <optional>
#include <vector>

#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// Where the tokens of one call stand: `length` of them in each row, from the row's offset on.
struct Positions {
  /// Rows that go on at `offsets`, of which the first `lengths` tokens count (empty: all `length`). `given` ([B, L] or
  /// [3, B, L] int32) replaces the positions as far as rope is concerned.
  Positions(std::vector<int> offsets, int length, std::vector<int> lengths = {},
            std::optional<mx::array> given = std::nullopt);

  int rows() const { return static_cast<int>(offsets.size()); }
  /// Position after the row's last token.
  int end(int row) const { return offsets[row] + lengths[row]; }
  /// [B, L] int32: each row's offset and on.
  mx::array order() const;

  std::vector<int> offsets;
  int length;                             // L
  std::vector<int> lengths;               // of each row, how many of the L count
  bool uniform;                           // every row has the same offset and length
  std::optional<mx::array> offset_array;  // [B] int32, unless uniform
  std::optional<mx::array> given;
};

}  // namespace mlxk
