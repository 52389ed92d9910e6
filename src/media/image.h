#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mlxk {

/// An image as rows of RGB bytes, upright.
struct Image {
  int width = 0, height = 0;
  std::vector<uint8_t> rgb;  // [height, width, 3]
};

/// Degrees; north and east are positive.
struct GeoPosition {
  double latitude = 0, longitude = 0;
};

/// What an image's EXIF data say of how it was taken; fields that they lack are empty.
struct ImageMetadata {
  std::optional<GeoPosition> position;
  std::string date;  // YYYY-MM-DD: of the GPS time (UTC), else of DateTimeOriginal
  std::string camera;
};

struct DecodedImage {
  Image image;
  ImageMetadata metadata;
};

constexpr uint64_t kImagePixels = uint64_t{128} << 20;  // an image may have
constexpr int kImageSide = 65'535;                      // pixels along a side

/// Decodes JPEG, PNG, WebP, GIF, BMP or TIFF, and HEIC or AVIF where the machine has libheif; of an animation the first
/// frame. Pixels are those of Pillow's exif_transpose(image).convert("RGB"): alpha is dropped. Errors name `place`:
/// invalid for what is broken, cut off, no image, or beyond the limits above, unsupported for a kind that is not built
/// in. Asks check_stop(). Any thread.
DecodedImage decode_image(std::span<const uint8_t> bytes, std::string_view place);

}  // namespace mlxk
