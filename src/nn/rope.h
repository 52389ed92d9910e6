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

  /// [B, heads, L, head_dim] → the same shape; row r's tokens are at positions.offsets[r] on, or at the `given`
  /// positions.
  mx::array operator()(const mx::array& x, const Positions& positions) const;
  /// The same in the form of an attention step; throws invalid if three axes of positions are given to a model with
  /// one.
  Rotation rotation(const Positions& positions) const;

 private:
  double dynamic_base(int end) const;
  bool is_long(int end) const;
  std::vector<int> checked_axes() const;                    // the axis of each pair of dimensions
  mx::array frequencies(const Positions& positions) const;  // radians per position: [dims / 2] or [B, 1, 1, dims / 2]
  mx::array rotate(const mx::array& x, const mx::array& angles) const;
  mx::array angles(const Positions& positions) const;  // [B, 1, L, dims / 2]

  RopeSettings settings_;
  float scale_ = 1;                               // divides the positions (linear)
  float input_scale_ = 1;                         // multiplies the rotated part of x (yarn, longrope)
  std::optional<mx::array> freqs_;                // [dims / 2]; absent: powers of theta
  std::optional<mx::array> short_freqs_;          // longrope below original_positions
  std::vector<float> inv_freq_, short_inv_freq_;  // radians per token, of the same
};

}  // namespace mlxk
