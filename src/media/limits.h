#pragma once

#include <cstdint>

namespace mlxk {

/// Throws invalid for an image without pixels or with more than the limit (image.h).
void check_image_size(uint64_t width, uint64_t height);

}  // namespace mlxk
