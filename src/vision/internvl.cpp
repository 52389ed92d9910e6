// InternVL (Hugging Face's layout and OpenGVLab's) and Aya Vision: tiles of the nearest grid, the whole image last.
//   shape [tiles, S, S, 3], grid {rows, cols} of tiles without the last one; {1, 1}: the image is one tile
// Source: transformers' GotOcr2ImageProcessor, InternVLProcessor, AyaVisionProcessor.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "vision/families.h"
#include "vision/sizes.h"

namespace mlxk {

namespace {

/// The tiles of an image, by the settings of both families.
class GridTiles {
 public:
  GridTiles(const ProcessorFiles& files, Size tile, Filter filter, const std::array<double, 3>& mean,
            const std::array<double, 3>& std)
      : tile_(tile),
        splits_(files.image.flag("crop_to_patches", true)),
        least_(files.image.whole("min_patches", files.config.whole("min_dynamic_patch", 1), 1, 64)),
        most_(files.image.whole("max_patches", files.config.whole("max_dynamic_patch", 12), 1, 64)),
        filter_(files.image.filter(filter)),
        scale_(files.image, mean, std) {}

  MediaData of(const Image& image) const {
    const TileGrid grid = splits_ && most_ > 1 ? nearest_grid(size_of(image), tile_, least_, most_) : TileGrid{};
    auto tiles = cut(resize(image, tile_.width * grid.cols, tile_.height * grid.rows, filter_), grid.cols, grid.rows);
    if (tiles.size() > 1) tiles.push_back(resize(image, tile_.width, tile_.height, filter_));
    return tiles_media(tiles, scale_, {grid.rows, grid.cols});
  }

 private:
  Size tile_;
  bool splits_;
  int least_, most_;  // tiles
  Filter filter_;
  PixelScale scale_;
};

class InternVlProcessor : public ImageProcessor {
 public:
  InternVlProcessor(const ProcessorFiles& files, bool chat)
      : tiles_(files, files.image.size("size", tile_of(files)), Filter::bicubic, kImageNetMean, kImageNetStd),
        chat_(chat) {
    const int side = tile_of(files).width / files.vision.whole("patch_size", 14);
    const int tokens = static_cast<int>(std::lround(side * files.config.real("downsample_ratio", 0.5)));
    length_ = files.processor.whole("image_seq_length",
                                    files.config.whole("image_seq_length", std::max(tokens * tokens, 1)), 1, 1 << 16);
  }

  ProcessedImage process(const Image& image) const override {
    MediaData data = tiles_.of(image);
    const std::string text = "<img>" + repeated(image_token(), length_ * data.shape[0]) + "</img>";
    return processed(std::move(data), text, image_token());
  }
  std::string placeholder(int /*index*/) const override { return chat_ ? "<image>" : image_token(); }
  std::string image_token() const override { return "<IMG_CONTEXT>"; }

 private:
  /// force_image_size or vision_config.image_size, a number or [height, width].
  static Size tile_of(const ProcessorFiles& files) {
    if (files.config.has("force_image_size")) return files.config.size("force_image_size", {});
    const Json& size = files.vision.json("image_size");
    if (!size.is_array()) return files.vision.size("image_size", {448, 448});
    if (size.size() != 2 || !size[0].is_number_unsigned() || !size[1].is_number_unsigned() || size[0] > 1 << 14 ||
        size[1] > 1 << 14 || size[0] < 1 || size[1] < 1)
      files.vision.fail("image_size", "must be a height and a width, is " + size.dump());
    return {size[1].get<int>(), size[0].get<int>()};
  }

  GridTiles tiles_;
  bool chat_;   // OpenGVLab's own prompts
  int length_;  // tokens of a tile
};

class AyaVisionProcessor : public ImageProcessor {
 public:
  explicit AyaVisionProcessor(const ProcessorFiles& files)
      : tiles_(files, files.image.size("size", {364, 364}), Filter::bicubic, kHalf, kHalf) {
    const int side = files.processor.whole("img_size", 364) /
                     (files.processor.whole("patch_size", 28) * files.processor.whole("downsample_factor", 1));
    length_ = std::max(side * side, 1);
  }

  ProcessedImage process(const Image& image) const override {
    MediaData data = tiles_.of(image);
    const std::string features = repeated(image_token(), length_);
    std::string text = "<|START_OF_IMG|>";
    for (int tile = 1; tile < data.shape[0]; ++tile) text += fmt::format("TILE_{}{}", tile, features);
    text += "TILE_GLOBAL" + features + "<|END_OF_IMG|>";
    return processed(std::move(data), std::move(text), image_token());
  }
  std::string placeholder(int /*index*/) const override { return "<image>"; }
  std::string image_token() const override { return "<|IMG_PATCH|>"; }

 private:
  GridTiles tiles_;
  int length_;  // tokens of a tile
};

}  // namespace

std::unique_ptr<ImageProcessor> make_internvl(const ProcessorFiles& files) {
  return std::make_unique<InternVlProcessor>(files, files.config.text("model_type", "") == "internvl_chat");
}

std::unique_ptr<ImageProcessor> make_aya_vision(const ProcessorFiles& files) {
  return std::make_unique<AyaVisionProcessor>(files);
}

}  // namespace mlxk
