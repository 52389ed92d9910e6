#pragma once

#include <cstdint>
#include <span>

#include "media/image.h"

namespace mlxk {

struct Exif {
  int orientation = 1;  // 1…8, as EXIF numbers them
  ImageMetadata metadata;
};

/// The EXIF data in a JPEG, PNG, WebP or TIFF; empty if there are none, or if they are not a TIFF structure. Invalid
/// entries are left out. Throws invalid for directories that form a loop.
Exif read_exif(std::span<const uint8_t> image);

/// The same for a TIFF structure alone.
Exif parse_exif(std::span<const uint8_t> tiff);

}  // namespace mlxk
