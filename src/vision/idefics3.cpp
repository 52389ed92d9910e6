// Idefics3 and SmolVLM: tiles of one size, row by row, and the whole image last.
//   shape [tiles, T, T, 3], grid {rows, cols} of tiles without the last one; {0, 0}: the image is one tile
// Source: transformers' Idefics3ImageProcessor and Idefics3Processor.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "vision/families.h"

namespace mlxk {

namespace {

class Idefics3Processor : public ImageProcessor {
 public:
  explicit Idefics3Processor(const ProcessorFiles& files)
      : longest_(files.image.whole_in("size", "longest_edge", 4 * 364, 1, kMaxSide)),
        tile_(files.image.whole_in("max_image_size", "longest_edge", 364, 1, kMaxSide)),
        resizes_(files.image.flag("do_resize", true)),
        splits_(files.image.flag("do_image_splitting", true)),
        filter_(files.image.filter(Filter::lanczos)),
        scale_(files.image, kHalf, kHalf) {
    const int patches = files.vision.whole("image_size", 364) / files.vision.whole("patch_size", 14);
    const int features = patches / files.config.whole("scale_factor", 2);
    length_ = files.processor.whole("image_seq_len", std::max(features * features, 1), 1, 1 << 16);
  }

  ProcessedImage process(const Image& image) const override {
    const Image fitted = resizes_ ? resize_to(image, longest_size(size_of(image))) : image;
    if (!splits_) return finish({resize_to(fitted, {tile_, tile_})}, 0, 0);
    const Image whole = resize_to(fitted, multiple_size(size_of(fitted)));
    if (whole.width <= tile_ && whole.height <= tile_) return finish({whole}, 0, 0);
    const int rows = whole.height / tile_, cols = whole.width / tile_;
    std::vector<Image> tiles = cut(whole, cols, rows);
    tiles.push_back(resize_to(whole, {tile_, tile_}));
    return finish(tiles, rows, cols);
  }
  std::string placeholder(int /*index*/) const override { return "<image>"; }
  std::string image_token() const override { return "<image>"; }

 private:
  static constexpr int kMaxSide = 4096;

  Image resize_to(const Image& image, Size size) const { return resize(image, size.width, size.height, filter_); }

  /// The longer side is the one in the settings, the other is even.
  Size longest_size(Size size) const {
    const double shape = static_cast<double>(size.width) / size.height;
    const auto even = [](double side) {
      const int whole = static_cast<int>(side);
      return std::max(whole + whole % 2, 1);
    };
    if (size.width >= size.height) return {longest_, even(longest_ / shape)};
    return {even(longest_ * shape), longest_};
  }
  /// Both sides are multiples of the tile's.
  Size multiple_size(Size size) const {
    const double shape = static_cast<double>(size.width) / size.height;
    const auto up = [&](double side) { return static_cast<int>(std::ceil(side / tile_)) * tile_; };
    if (size.width >= size.height) {
      const int width = up(size.width);
      return {width, std::max(up(static_cast<int>(width / shape)), tile_)};
    }
    const int height = up(size.height);
    return {std::max(up(static_cast<int>(height * shape)), tile_), height};
  }

  ProcessedImage finish(const std::vector<Image>& tiles, int rows, int cols) const {
    constexpr const char* kFake = "<fake_token_around_image>";
    const std::string features = repeated("<image>", length_);
    std::string text;
    for (int row = 1; row <= rows; ++row) {
      for (int col = 1; col <= cols; ++col) text += fmt::format("{}<row_{}_col_{}>{}", kFake, row, col, features);
      text += "\n";
    }
    if (rows > 0) text += "\n";
    text += fmt::format("{}<global-img>{}{}", kFake, features, kFake);
    return processed(tiles_media(tiles, scale_, {rows, cols}), std::move(text), "<image>");
  }

  int longest_, tile_;
  bool resizes_, splits_;
  Filter filter_;
  PixelScale scale_;
  int length_;  // features of a tile
};

}  // namespace

std::unique_ptr<ImageProcessor> make_idefics3(const ProcessorFiles& files) {
  return std::make_unique<Idefics3Processor>(files);
}

}  // namespace mlxk
