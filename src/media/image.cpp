#include "media/image.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "media/exif.h"
#include "media/heif.h"
#include "media/jpeg.h"
#include "media/limits.h"
#include "rust_handle.h"

namespace mlxk {

namespace {

/// PNG, WebP, GIF, BMP, TIFF.
Image decode_other(std::span<const uint8_t> bytes, std::string_view place) {
  RustText error;
  mlxk_image* opened = nullptr;
  uint64_t width = 0, height = 0;
  const auto check = [&](int status) {
    const bool unsupported = error.str().ends_with("not supported");
    check_rust(status, error, unsupported ? ErrorKind::unsupported : ErrorKind::invalid, place);
  };
  check(mlxk_image_open(bytes.data(), bytes.size(), &opened, &width, &height, error.out()));
  const RustPtr<mlxk_image, mlxk_image_free> decoder(opened);
  check_image_size(width, height);
  Image image{static_cast<int>(width), static_cast<int>(height), std::vector<uint8_t>(width * height * 3)};
  RustStop stop;
  const int status = mlxk_image_read(opened, image.rgb.data(), image.rgb.size(), stop.get(), error.out());
  stop.rethrow();
  check(status);
  return image;
}

struct Pixel {
  uint8_t rgb[3];
};

/// The image rotated so that orientation 1 shows the same as `orientation`.
Image upright(Image image, int orientation) {
  if (orientation == 1) return image;
  const auto width = static_cast<size_t>(image.width), height = static_cast<size_t>(image.height);
  const bool swap = orientation >= 5;
  const bool mirror_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool mirror_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image turned{image.width, image.height, std::vector<uint8_t>(image.rgb.size())};
  if (swap) std::swap(turned.width, turned.height);
  const auto* from = reinterpret_cast<const Pixel*>(image.rgb.data());
  auto* to = reinterpret_cast<Pixel*>(turned.rgb.data());
  constexpr size_t kBlock = 32;  // a column of the source is a row of the result: in squares that fit the cache
  for (size_t y0 = 0; y0 < height; y0 += kBlock) {
    for (size_t x0 = 0; x0 < width; x0 += kBlock) {
      for (size_t y = y0; y < std::min(y0 + kBlock, height); ++y) {
        const size_t v = mirror_y ? height - 1 - y : y;
        for (size_t x = x0; x < std::min(x0 + kBlock, width); ++x) {
          const size_t u = mirror_x ? width - 1 - x : x;
          to[swap ? u * height + v : v * width + u] = from[y * width + x];
        }
      }
    }
  }
  return turned;
}

DecodedImage decode(std::span<const uint8_t> bytes, std::string_view place) {
  if (is_heif(bytes)) return decode_heif(bytes);
  const Exif exif = read_exif(bytes);  // first: it is cheap, and may contain the error
  const bool jpeg = bytes.size() > 2 && bytes[0] == 0xff && bytes[1] == 0xd8;
  Image image = jpeg ? decode_jpeg(bytes) : decode_other(bytes, place);
  return {upright(std::move(image), exif.orientation), exif.metadata};
}

}  // namespace

void check_image_size(uint64_t width, uint64_t height) {
  if (width == 0 || height == 0) throw Error(ErrorKind::invalid, "the image has no pixels");
  if (width > kImageSide || height > kImageSide || width * height > kImagePixels) {
    throw Error(ErrorKind::invalid,
                fmt::format("the image has {} x {} pixels; at most {} along a side and {} million in all can be read",
                            width, height, kImageSide, kImagePixels / 1'000'000));
  }
}

DecodedImage decode_image(std::span<const uint8_t> bytes, std::string_view place) {
  if (bytes.empty()) throw Error(ErrorKind::invalid, fmt::format("[{}] the image is empty", place));
  try {
    return decode(bytes, place);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorKind::memory, fmt::format("[{}] not enough memory for the image", place));
  } catch (const Error& error) {
    const std::string message = error.what();
    if (message.starts_with("[")) throw;
    throw Error(error.kind(), fmt::format("[{}] {}", place, message), error.hint());
  }
}

}  // namespace mlxk
