// Phi-3 and Phi-3.5 Vision: the image in rows of tiles, white above and below, and the whole of that first.
//   shape [1 + tiles, 336, 336, 3], the whole first; grid {h, w} in tiles
// The model's own ids of image tokens are negative; here any token stands for them.
// Source: Microsoft's Phi3VImageProcessor and Phi3VProcessor.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "vision/families.h"
#include "vision/sizes.h"

namespace mlxk {

namespace {

constexpr int kPhiTile = 336;

/// Transposes the image.
Image transposed(const Image& image) {
  Image result = blank({image.height, image.width});
  const auto width = static_cast<size_t>(image.width), height = static_cast<size_t>(image.height);
  for (size_t y = 0; y < height; ++y)
    for (size_t x = 0; x < width; ++x)
      std::copy_n(image.rgb.data() + (y * width + x) * 3, 3, result.rgb.data() + (x * height + y) * 3);
  return result;
}

class Phi3VProcessor : public ImageProcessor {
 public:
  explicit Phi3VProcessor(const ProcessorFiles& files)
      : most_(files.image.whole("num_crops", 16, 1, 64)), scale_(files.image, kClipMean, kClipStd) {}

  ProcessedImage process(const Image& image) const override {
    const Image sheet = sheet_of(image);
    const int rows = sheet.height / kPhiTile, cols = sheet.width / kPhiTile;
    const std::vector<Image> tiles = cut(sheet, cols, rows);
    MediaData data = tiles_media(tiles, scale_, {rows, cols});
    // The overview is resized after normalising.
    FloatImage floats{sheet.width, sheet.height, std::vector<float>(sheet.rgb.size())};
    for (size_t i = 0; i < sheet.rgb.size(); ++i) floats.rgb[i] = scale_(i % 3, sheet.rgb[i]);
    const FloatImage whole = resize_bicubic(floats, kPhiTile, kPhiTile);
    data.values.insert(data.values.begin(), whole.rgb.begin(), whole.rgb.end());
    ++data.shape[0];
    const int tokens = (rows * cols + 1) * 144 + 1 + (rows + 1) * 12;
    return processed(std::move(data), repeated(image_token(), tokens), image_token());
  }
  std::string placeholder(int index) const override { return fmt::format("<|image_{}|>", index + 1); }
  std::string image_token() const override { return "<|endoftext|>"; }

 private:
  /// As many tiles as the settings allow, computed for landscape; a portrait image is turned before and back
  /// afterwards.
  Image sheet_of(const Image& image) const {
    if (image.width < image.height) return transposed(sheet_of(transposed(image)));
    const double shape = static_cast<double>(image.width) / image.height;
    int scale = 1;
    while (scale * std::ceil(scale / shape) <= most_) ++scale;
    --scale;
    const int width = scale * kPhiTile, height = static_cast<int>(width / shape);
    if (height < 1)
      throw Error(ErrorKind::invalid, fmt::format("the image is too narrow: {} x {}", image.width, image.height));
    const int padded = (height + kPhiTile - 1) / kPhiTile * kPhiTile;
    Image sheet = blank({width, padded}, {255, 255, 255});
    paste(sheet, resize(image, width, height, Filter::bilinear), 0, (padded - height) / 2);
    return sheet;
  }

  int most_;  // tiles
  PixelScale scale_;
};

}  // namespace

std::unique_ptr<ImageProcessor> make_phi3_v(const ProcessorFiles& files) {
  return std::make_unique<Phi3VProcessor>(files);
}

}  // namespace mlxk
