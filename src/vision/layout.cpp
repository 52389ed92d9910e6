#include "vision/layout.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace mlxk {

namespace {

size_t area(int width, int height) { return static_cast<size_t>(width) * static_cast<size_t>(height); }

uint8_t* pixel(Image& image, int x, int y) {
  return image.rgb.data() + (area(image.width, y) + static_cast<size_t>(x)) * 3;
}
const uint8_t* pixel(const Image& image, int x, int y) {
  return image.rgb.data() + (area(image.width, y) + static_cast<size_t>(x)) * 3;
}

/// The nearest bfloat16 value, ties to even.
float bfloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000);
}

}  // namespace

Image blank(Size size, Color fill) {
  check_resized(size.width, size.height);
  Image image{size.width, size.height, std::vector<uint8_t>(area(size.width, size.height) * 3)};
  if (fill == Color{}) return image;
  for (size_t i = 0; i < image.rgb.size(); ++i) image.rgb[i] = fill[i % 3];
  return image;
}

void paste(Image& to, const Image& from, int x, int y) {
  const int left = std::max(x, 0), right = std::min(x + from.width, to.width);
  if (left >= right) return;
  for (int v = std::max(y, 0); v < std::min(y + from.height, to.height); ++v)
    std::memcpy(pixel(to, left, v), pixel(from, left - x, v - y), static_cast<size_t>(right - left) * 3);
}

Image crop(const Image& image, int x, int y, Size size) {
  Image result = blank(size);
  paste(result, image, -x, -y);
  return result;
}

Image center_crop(const Image& image, Size size) {
  const auto begin = [](int length, int wanted) {
    // Padding puts the odd pixel before the image, cutting after it.
    return length >= wanted ? (length - wanted) / 2 : -((wanted - length + 1) / 2);
  };
  return crop(image, begin(image.width, size.width), begin(image.height, size.height), size);
}

std::vector<Image> cut(const Image& image, int cols, int rows) {
  const Size size{image.width / cols, image.height / rows};
  std::vector<Image> tiles;
  for (int row = 0; row < rows; ++row)
    for (int col = 0; col < cols; ++col) tiles.push_back(crop(image, col * size.width, row * size.height, size));
  return tiles;
}

Image pad_to_square(const Image& image, Color fill) {
  if (image.width == image.height) return image;
  const int side = std::max(image.width, image.height);
  Image square = blank({side, side}, fill);
  paste(square, image, (side - image.width) / 2, (side - image.height) / 2);
  return square;
}

PixelScale::PixelScale(double scale, const std::array<double, 3>* mean, const std::array<double, 3>* std) {
  for (size_t c = 0; c < 3; ++c) {
    for (size_t value = 0; value < 256; ++value) {
      float& result = table_[c][value];
      result = static_cast<float>(static_cast<double>(value) * scale);
      if (mean) result = (result - static_cast<float>((*mean)[c])) / static_cast<float>((*std)[c]);
    }
  }
}

PixelScale::PixelScale(const Settings& image, const std::array<double, 3>& mean, const std::array<double, 3>& std)
    : PixelScale(1, nullptr, nullptr) {
  const double scale = image.flag("do_rescale", true) ? image.real("rescale_factor", 1 / 255.0) : 1;
  const auto own_mean = image.color("image_mean", mean), own_std = image.color("image_std", std);
  for (const double value : own_std)
    if (value == 0) image.fail("image_std", "must not be 0");
  const bool normalize = image.flag("do_normalize", true);
  *this = PixelScale(scale, normalize ? &own_mean : nullptr, &own_std);
}

PixelScale PixelScale::in_bfloat16(const Settings& image, const std::array<double, 3>& mean,
                                   const std::array<double, 3>& std) {
  PixelScale scale(image, mean, std);
  if (!image.flag("do_rescale", true) || !image.flag("do_normalize", true)) return scale;
  const auto factor = static_cast<float>(image.real("rescale_factor", 1 / 255.0));
  const auto own_mean = image.color("image_mean", mean), own_std = image.color("image_std", std);
  for (size_t c = 0; c < 3; ++c) {
    for (size_t value = 0; value < 256; ++value) {
      const float scaled = bfloat16(static_cast<float>(value) * factor);
      const float moved = bfloat16(scaled - bfloat16(static_cast<float>(own_mean[c])));
      scale.table_[c][value] = bfloat16(moved / bfloat16(static_cast<float>(own_std[c])));
    }
  }
  return scale;
}

PixelScale PixelScale::rounded() const {
  PixelScale result = *this;
  for (auto& channel : result.table_)
    for (float& value : channel) value = bfloat16(value);
  return result;
}

MediaData tiles_media(std::span<const Image> tiles, const PixelScale& scale, std::vector<int> grid) {
  MediaData data;
  data.shape = {static_cast<int>(tiles.size()), tiles.front().height, tiles.front().width, 3};
  data.grid = std::move(grid);
  data.values.resize(tiles.size() * tiles.front().rgb.size());
  float* to = data.values.data();
  for (const Image& tile : tiles) {
    for (size_t i = 0; i < tile.rgb.size(); i += 3, to += 3)
      for (size_t c = 0; c < 3; ++c) to[c] = scale(c, tile.rgb[i + c]);
  }
  return data;
}

void append_patches(std::vector<float>& to, const Image& image, const PixelScale& scale, int side) {
  to.reserve(to.size() + image.rgb.size());
  for (int top = 0; top + side <= image.height; top += side) {
    for (int left = 0; left + side <= image.width; left += side) {
      for (int y = top; y < top + side; ++y) {
        const uint8_t* from = pixel(image, left, y);
        for (size_t i = 0; i < static_cast<size_t>(side) * 3; ++i) to.push_back(scale(i % 3, from[i]));
      }
    }
  }
}

std::string repeated(std::string_view text, int count) {
  std::string result;
  result.reserve(text.size() * static_cast<size_t>(std::max(count, 0)));
  for (int i = 0; i < count; ++i) result += text;
  return result;
}

}  // namespace mlxk
