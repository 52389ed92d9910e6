#pragma once

#include <cstdint>
#include <span>

#include "media/exif.h"
#include "media/image.h"

namespace mlxk {

/// Whether the bytes are of the HEIF family: HEIC, AVIF.
bool is_heif(std::span<const uint8_t> bytes);

/// The primary image, upright, and its EXIF data, by the system's libheif, which is opened at the first one; throws
/// unsupported where there is none or where it lacks the codec, invalid.
DecodedImage decode_heif(std::span<const uint8_t> bytes);

}  // namespace mlxk
