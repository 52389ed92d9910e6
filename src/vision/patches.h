#pragma once

#include "vision/layout.h"

namespace mlxk {

/// Patches of `side` pixels, in groups of `merge` x `merge` that are merged: order (H/m, W/m, m, m), inside each
/// (channel, y, x). The image's sides are multiples of side * merge.
std::vector<float> merged_patches(const Image& image, const PixelScale& scale, int side, int merge);

}  // namespace mlxk
