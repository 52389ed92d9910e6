#pragma once

#include <cstdint>
#include <span>

#include "media/exif.h"
#include "media/image.h"

namespace mlxk {

/// Whether the bytes belong to the HEIF family: HEIC, AVIF.
bool is_heif(std::span<const uint8_t> bytes);

/// The primary image, upright, and its EXIF data, by the system's libheif, which is opened on first use; throws
/// unsupported if it is missing or lacks the codec, invalid.
DecodedImage decode_heif(std::span<const uint8_t> bytes);

}  // namespace mlxk
