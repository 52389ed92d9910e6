#pragma once

#include <cstdint>
#include <span>

#include "media/image.h"

namespace mlxk {

/// A JPEG (baseline, progressive; gray, YCbCr, RGB, CMYK, YCCK) by libjpeg-turbo with its exact transform and smooth
/// upsampling, not turned by its orientation. Throws invalid.
Image decode_jpeg(std::span<const uint8_t> bytes);

}  // namespace mlxk
