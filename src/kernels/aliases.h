#pragma once

#include <utility>
#include <vector>

#include "mlx/array.h"

namespace mlxk {

using Arrays = std::vector<mlx::core::array>;

/// Pairs of an output and the input (row-contiguous) whose buffer it is, changed in place.
using Aliases = std::vector<std::pair<int, int>>;

/// The input whose buffer `output` is; null if it has memory of its own.
inline const mlx::core::array* aliased_input(const Aliases& aliases, size_t output, const Arrays& inputs) {
  for (const auto& [to, from] : aliases) {
    if (static_cast<size_t>(to) == output) return &inputs[static_cast<size_t>(from)];
  }
  return nullptr;
}

}  // namespace mlxk
