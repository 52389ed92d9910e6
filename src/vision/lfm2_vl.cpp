// LFM2-VL: the image keeps its shape; one that is too large becomes tiles, row by row, and the whole as a thumbnail.
//   shape [patches, p * p * 3] of all tiles one after the other, inside each (y, x, channel); grid {h0, w0, h1, w1, …}
//   in patches
// Source: transformers' Lfm2VlImageProcessor and Lfm2VlProcessor.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "vision/families.h"
#include "vision/sizes.h"

namespace mlxk {

namespace {

class Lfm2VlProcessor : public ImageProcessor {
 public:
  explicit Lfm2VlProcessor(const ProcessorFiles& files)
      : patch_(files.image.whole("encoder_patch_size", 16, 1, 256)),
        merge_(files.image.whole("downsample_factor", 2, 1, 16)),
        tile_(files.image.whole("tile_size", 512, 1, 1 << 14)),
        least_tiles_(files.image.whole("min_tiles", 2, 1, 64)),
        most_tiles_(files.image.whole("max_tiles", 10, 1, 64)),
        least_tokens_(files.image.whole("min_image_tokens", 64, 1, 1 << 20)),
        most_tokens_(files.image.whole("max_image_tokens", 256, 1, 1 << 20)),
        tolerance_(files.image.real("max_pixels_tolerance", 2.0)),
        thumbnail_(files.image.flag("use_thumbnail", true)),
        marks_(files.processor.flag("use_image_special_tokens", true)),
        filter_(files.image.filter(Filter::bilinear)),
        scale_(files.image, kHalf, kHalf) {
    if (!files.image.flag("do_image_splitting", true)) least_tiles_ = most_tiles_ = 1;
    if (least_tiles_ > most_tiles_) files.image.fail("min_tiles", "must not be above max_tiles");
  }

  ProcessedImage process(const Image& image) const override {
    const Size size = target(image);
    MediaData data;
    std::string text = marks_ ? "<|image_start|>" : "";
    const auto add = [&](const Image& tile, const std::string& mark) {
      append_patches(data.values, tile, scale_, patch_);
      const int rows = tile.height / patch_, cols = tile.width / patch_;
      data.grid.insert(data.grid.end(), {rows, cols});
      const auto merged = [&](int patches) { return (patches + merge_ - 1) / merge_; };
      text += (marks_ ? mark : "") + repeated(image_token(), merged(rows) * merged(cols));
    };
    const TileGrid grid = tiles_of(image);
    if (grid.count() > 1) {
      const auto tiles = cut(resize(image, tile_ * grid.cols, tile_ * grid.rows, filter_), grid.cols, grid.rows);
      for (size_t i = 0; i < tiles.size(); ++i) {
        const auto at = static_cast<int>(i);
        add(tiles[i], fmt::format("<|img_row_{}_col_{}|>", at / grid.cols + 1, at % grid.cols + 1));
      }
      if (thumbnail_) add(resize(image, size.width, size.height, filter_), "<|img_thumbnail|>");
    } else {
      add(resize(image, size.width, size.height, filter_), "");
    }
    if (marks_) text += "<|image_end|>";
    const int width = patch_ * patch_ * 3;
    data.shape = {static_cast<int>(data.values.size() / static_cast<size_t>(width)), width};
    return processed(std::move(data), std::move(text), image_token());
  }
  std::string placeholder(int /*index*/) const override { return image_token(); }
  std::string image_token() const override { return "<image>"; }

 private:
  int step() const { return patch_ * merge_; }
  double pixels(int tokens) const { return static_cast<double>(tokens) * step() * step(); }
  int64_t nearest(int side) const { return int64_t{round_even(static_cast<double>(side) / step())} * step(); }

  TileGrid tiles_of(const Image& image) const {
    const auto at_least_a_patch = [&](int side) {
      return static_cast<double>(std::max<int64_t>(patch_, nearest(side)));
    };
    const bool large =
        at_least_a_patch(image.height) * at_least_a_patch(image.width) > pixels(most_tokens_) * tolerance_;
    if (!large || most_tiles_ == 1) return {};
    return nearest_grid(size_of(image), {tile_, tile_}, least_tiles_, most_tiles_);
  }

  /// The nearest size within the bounds of tokens.
  Size target(const Image& image) const {
    const double width = image.width, height = image.height;
    int64_t w = std::max<int64_t>(step(), nearest(image.width)), h = std::max<int64_t>(step(), nearest(image.height));
    if (static_cast<double>(w * h) > pixels(most_tokens_)) {
      const double beta = std::sqrt(height * width / pixels(most_tokens_));
      const auto cut = [&](double side) {
        return std::max<int64_t>(step(), static_cast<int64_t>(std::floor(side / beta / step())) * step());
      };
      h = cut(height);
      w = cut(width);
    } else if (static_cast<double>(w * h) < pixels(least_tokens_)) {
      const double beta = std::sqrt(pixels(least_tokens_) / (height * width));
      h = static_cast<int64_t>(std::ceil(height * beta / step())) * step();
      w = static_cast<int64_t>(std::ceil(width * beta / step())) * step();
    }
    return {static_cast<int>(w), static_cast<int>(h)};
  }

  int patch_, merge_, tile_;
  int least_tiles_, most_tiles_, least_tokens_, most_tokens_;
  double tolerance_;
  bool thumbnail_;
  bool marks_;  // whether the prompt marks where tiles begin
  Filter filter_;
  PixelScale scale_;
};

}  // namespace

std::unique_ptr<ImageProcessor> make_lfm2_vl(const ProcessorFiles& files) {
  return std::make_unique<Lfm2VlProcessor>(files);
}

}  // namespace mlxk
