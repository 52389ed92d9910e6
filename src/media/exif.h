#pragma once

#include <cstdint>
#include <span>

#include "media/image.h"

namespace mlxk {

struct Exif {
  int orientation = 1;  // 1…8, as EXIF numbers them
  ImageMetadata metadata;
};

/// The EXIF data in a JPEG, PNG, WebP or TIFF: none where there are none, or where they are no TIFF structure. Entries
/// that make no sense are left out. Throws invalid for directories that lead back to themselves.
Exif read_exif(std::span<const uint8_t> image);

/// The same of a TIFF structure alone.
Exif parse_exif(std::span<const uint8_t> tiff);

}  // namespace mlxk
