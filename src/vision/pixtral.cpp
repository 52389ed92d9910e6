// Pixtral and Mistral 3: the image keeps its shape, in whole patches (of merged ones).
//   shape [1, H, W, 3], grid {h, w} in patches
// Source: transformers' PixtralImageProcessor and PixtralProcessor.
#include <algorithm>
#include <cmath>

#include "vision/families.h"

namespace mlxk {

namespace {

class PixtralProcessor : public ImageProcessor {
 public:
  explicit PixtralProcessor(const ProcessorFiles& files)
      : patch_(files.processor.whole("patch_size", files.vision.whole("patch_size", 16))),
        cell_(patch_ * files.processor.whole("spatial_merge_size", files.config.whole("spatial_merge_size", 1), 1, 64)),
        most_(files.image.size("size", {1024, 1024})),
        resizes_(files.image.flag("do_resize", true)),
        filter_(files.image.filter(Filter::bicubic)),
        scale_(files.image, kClipMean, kClipStd),
        token_(files.processor.text("image_token", "[IMG]")),
        break_(files.processor.text("image_break_token", "[IMG_BREAK]")),
        end_(files.processor.text("image_end_token", "[IMG_END]")) {}

  ProcessedImage process(const Image& image) const override {
    double height = image.height, width = image.width;
    const double ratio = std::max(height / most_.height, width / most_.width);
    if (ratio > 1) {
      height = std::floor(height / ratio);
      width = std::floor(width / ratio);
    }
    const int rows = cells(height), cols = cells(width);
    const Image sized = resizes_ ? resize(image, cols * cell_, rows * cell_, filter_) : image;
    std::string row = repeated(token_, cols) + break_;
    std::string text = repeated(row, rows);
    text.replace(text.size() - break_.size(), break_.size(), end_);
    return processed(tiles_media({&sized, 1}, scale_, {sized.height / patch_, sized.width / patch_}), std::move(text),
                     token_);
  }
  std::string placeholder(int /*index*/) const override { return token_; }
  std::string image_token() const override { return token_; }

 private:
  int cells(double side) const { return std::max((static_cast<int>(side) - 1) / cell_ + 1, 1); }

  int patch_, cell_;
  Size most_;
  bool resizes_;
  Filter filter_;
  PixelScale scale_;
  std::string token_, break_, end_;
};

}  // namespace

std::unique_ptr<ImageProcessor> make_pixtral(const ProcessorFiles& files) {
  return std::make_unique<PixtralProcessor>(files);
}

}  // namespace mlxk
