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

/// The EXIF data about how an image was taken; missing fields are empty.
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
constexpr int kImageSide = 65'535;                      // the most pixels on a side

/// Decodes JPEG, PNG, WebP, GIF, BMP or TIFF, and HEIC or AVIF if the machine has libheif; of an animation the first
/// frame. The pixels equal Pillow's exif_transpose(image).convert("RGB"): alpha is dropped. Errors name `place`:
/// invalid for data that is broken, truncated, not an image, or beyond the limits above, unsupported for a format that
/// is not built in. Calls check_stop(). Any thread.
DecodedImage decode_image(std::span<const uint8_t> bytes, std::string_view place);

}  // namespace mlxk
