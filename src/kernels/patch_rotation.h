#pragma once

#include <optional>

#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// Rotates the heads of patches, x [1, patches, heads * dim], by an angle for each pair of numbers: cos and sin [1,
/// patches, 1, dim / 2]. A head consists of `groups` equal parts with their own pairs: number i and number i + half of
/// the part or, with `neighbours`, 2 i and 2 i + 1. By the device's own operation; nullopt if it has none.
std::optional<mx::array> rotate_patches(const mx::array& x, const mx::array& cos, const mx::array& sin, int groups,
                                        bool neighbours);

}  // namespace mlxk
