// LLaVA-NeXT: the whole image in one tile, then tiles of the image fitted into one of the resolutions that the model
// has.
//   shape [1 + tiles, S, S, 3], the whole first; grid {rows, cols, height, width}: of tiles, and of the image in pixels
// Source: transformers' LlavaNextImageProcessor and LlavaNextProcessor.
#include <cmath>

#include "vision/families.h"
#include "vision/sizes.h"

namespace mlxk {

namespace {

class LlavaNextProcessor : public ImageProcessor {
 public:
  explicit LlavaNextProcessor(const ProcessorFiles& files)
      : scale_(files.image, kClipMean, kClipStd), filter_(files.image.filter(Filter::bicubic)) {
    const int side = files.vision.whole("image_size", 336, 1, 1 << 14);
    tile_ = files.image.size("crop_size", files.image.size("size", {side, side})).width;
    patch_ = files.vision.whole("patch_size", 14);
    const bool clip = files.vision.text("model_type", "clip_vision_model") == "clip_vision_model";
    extra_ = clip ? 1 : 0;
    if (files.config.text("vision_feature_select_strategy", "default") == "default") --extra_;
    read_resolutions(files.image.has("image_grid_pinpoints") ? files.image : files.config);
  }

  ProcessedImage process(const Image& image) const override {
    const Size best = best_resolution(size_of(image), resolutions_);
    const int rows = best.height / tile_, cols = best.width / tile_;
    std::vector<Image> tiles{resize(image, tile_, tile_, filter_)};
    const Size inside = fit_inside(size_of(image), best);
    Image canvas = blank(best);
    paste(canvas, resize(image, inside.width, inside.height, filter_), (best.width - inside.width) / 2,
          (best.height - inside.height) / 2);
    for (Image& tile : cut(canvas, cols, rows)) tiles.push_back(std::move(tile));
    const int features = base() + unpadded(size_of(image), rows, cols);
    return processed(tiles_media(tiles, scale_, {rows, cols, image.height, image.width}), repeated("<image>", features),
                     "<image>");
  }
  std::string placeholder(int /*index*/) const override { return "<image>"; }
  std::string image_token() const override { return "<image>"; }

 private:
  void read_resolutions(const Settings& settings) {
    const Json& list = settings.json("image_grid_pinpoints");
    if (list.is_null()) {
      resolutions_ = {{672, 336}, {336, 672}, {672, 672}, {336, 1008}, {1008, 336}};
    } else {
      const auto valid = [&](const Json& side) {
        return side.is_number_unsigned() && side > 0 && side <= 1 << 14 && side.get<int>() % tile_ == 0;
      };
      if (!list.is_array() || list.empty() || list.size() > 256)
        settings.fail("image_grid_pinpoints", "must be a list");
      for (const Json& pair : list) {
        if (!pair.is_array() || pair.size() != 2 || !valid(pair[0]) || !valid(pair[1]))
          settings.fail("image_grid_pinpoints", "must be of pairs of multiples of the tile's side, has " + pair.dump());
        resolutions_.push_back({pair[1].get<int>(), pair[0].get<int>()});
      }
    }
  }

  int base() const { return (tile_ / patch_) * (tile_ / patch_) + extra_; }

  /// The number of features of the tiles without rows or columns of pure padding, with a newline after each row.
  int unpadded(Size image, int tile_rows, int tile_cols) const {
    int rows = tile_ / patch_ * tile_rows, cols = tile_ / patch_ * tile_cols;
    const auto whole = [](double value) { return static_cast<int>(std::nearbyint(value * 1e7) / 1e7); };
    const double width = image.width, height = image.height;
    if (width / height > static_cast<double>(cols) / rows)
      rows -= (rows - whole(height * (cols / width))) / 2 * 2;
    else
      cols -= (cols - whole(width * (rows / height))) / 2 * 2;
    return rows * (cols + 1);
  }

  PixelScale scale_;
  Filter filter_;
  int tile_, patch_;
  int extra_;  // of the whole image in addition to its patches: the class token's, unless it is dropped
  std::vector<Size> resolutions_;
};

}  // namespace

std::unique_ptr<ImageProcessor> make_llava_next(const ProcessorFiles& files) {
  return std::make_unique<LlavaNextProcessor>(files);
}

}  // namespace mlxk
