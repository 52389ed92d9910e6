#pragma once

#include <optional>
#include <vector>

#include "mlx/array.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/packed_block.h"

namespace mlxk {

/// Several linear maps of the same normalised vectors.
struct NormLinears {
  std::optional<Norm> norm;
  std::vector<Linear> linears;
  PackedBlock packed = {};

  /// x [..., in] → one [..., out] for each of `linears`.
  std::vector<mx::array> operator()(const mx::array& x) const;
};

}  // namespace mlxk
