#pragma once

#include <cstdint>
#include <span>

#include "media/image.h"

namespace mlxk {

/// Decodes a JPEG (baseline, progressive; gray, YCbCr, RGB, CMYK, YCCK) by libjpeg-turbo with its exact transform and
/// smooth upsampling, without applying the orientation. Throws invalid.
Image decode_jpeg(std::span<const uint8_t> bytes);

}  // namespace mlxk
