#pragma once

#include <string>

namespace mlxk {

/// A BMP file of `side` x `side` pixels with circles on a gradient. The image is the same each time.
std::string drawn_image(int side);

}  // namespace mlxk
