#pragma once

#include <cstdint>

namespace mlxk {

/// Throws invalid for an image that has no pixels, or more than one may have (image.h).
void check_image_size(uint64_t width, uint64_t height);

}  // namespace mlxk
