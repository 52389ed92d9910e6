#pragma once

#include <optional>
#include <vector>

#include "cpu/rotation.h"
#include "mlx/array.h"
#include "nn/positions.h"
#include "nn/rope_settings.h"

namespace mlxk {

/// Rotates queries and keys by their positions.
class Rope {
 public:
  explicit Rope(const RopeSettings& settings);

  /// [B, heads, L, head_dim] → the same; row r's tokens stand at positions.offsets[r] on, or where `given` says.
  mx::array operator()(const mx::array& x, const Positions& positions) const;
  /// The same as an attention step takes it; throws invalid when three axes of positions are given to a model of one.
  Rotation rotation(const Positions& positions) const;

 private:
  double dynamic_base(int end) const;
  bool is_long(int end) const;
  std::vector<int> checked_axes() const;                    // the axis of each pair of dimensions
  mx::array frequencies(const Positions& positions) const;  // radians a step: [dims / 2] or [B, 1, 1, dims / 2]
  mx::array rotate(const mx::array& x, const mx::array& angles) const;
  mx::array angles(const Positions& positions) const;  // [B, 1, L, dims / 2]

  RopeSettings settings_;
  float scale_ = 1;                         // of the positions (linear)
  float input_scale_ = 1;                   // of the rotated part of x (yarn, longrope)
  std::optional<mx::array> periods_;        // [dims / 2]; absent: powers of theta
  std::optional<mx::array> short_periods_;  // longrope below original_positions
  std::vector<float> steps_, short_steps_;  // radians a token, of the same
};

}  // namespace mlxk
