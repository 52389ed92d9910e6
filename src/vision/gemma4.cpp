// Gemma 4: the image keeps its shape, in whole groups of patches that are pooled to a token.
//   shape [patches, p * p * 3] row by row, inside each (y, x, channel); grid {h, w} in patches
// Source: transformers' Gemma4ImageProcessor and Gemma4Processor.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "vision/families.h"

namespace mlxk {

namespace {

class Gemma4Processor : public ImageProcessor {
 public:
  explicit Gemma4Processor(const ProcessorFiles& files)
      : patch_(files.image.whole("patch_size", files.vision.whole("patch_size", 16), 1, 256)),
        pool_(files.image.whole("pooling_kernel_size", files.vision.whole("pooling_kernel_size", 3), 1, 64)),
        most_tokens_(
            files.image.whole("max_soft_tokens", files.config.whole("vision_soft_tokens_per_image", 280), 1, 1 << 16)),
        resizes_(files.image.flag("do_resize", true)),
        filter_(files.image.filter(Filter::bicubic)),
        scale_(unit_scale(files.image)) {}

  ProcessedImage process(const Image& image) const override {
    const Size size = resizes_ ? target(image) : size_of(image);
    const Image sized = resize(image, size.width, size.height, filter_);
    MediaData data;
    const int rows = sized.height / patch_, cols = sized.width / patch_;
    append_patches(data.values, sized, scale_, patch_);
    data.shape = {rows * cols, patch_ * patch_ * 3};
    data.grid = {rows, cols};
    const std::string text = "<|image>" + repeated(image_token(), rows * cols / (pool_ * pool_)) + "<image|>";
    return processed(std::move(data), text, image_token());
  }
  std::string placeholder(int /*index*/) const override { return image_token(); }
  std::string image_token() const override { return "<|image|>"; }

 private:
  /// Without image_mean and image_std the values stay in [0, 1].
  static PixelScale unit_scale(const Settings& image) {
    if (image.flag("do_normalize", false)) return {image, {0, 0, 0}, {1, 1, 1}};
    return {image.flag("do_rescale", true) ? image.real("rescale_factor", 1 / 255.0) : 1, nullptr, nullptr};
  }

  /// As many pixels as the tokens allow, with both sides multiples of a token's side.
  Size target(const Image& image) const {
    const int64_t patches = int64_t{most_tokens_} * pool_ * pool_;
    const double pixels = static_cast<double>(patches) * patch_ * patch_;
    const double factor = std::sqrt(pixels / (static_cast<double>(image.width) * image.height));
    const int step = pool_ * patch_;
    int height = static_cast<int>(std::floor(factor * image.height / step)) * step;
    int width = static_cast<int>(std::floor(factor * image.width / step)) * step;
    if (height == 0 && width == 0) throw Error(ErrorKind::invalid, "the image would be resized to nothing");
    if (height == 0) {
      height = step;
      width = std::min(image.width / image.height, most_tokens_) * step;
    } else if (width == 0) {
      width = step;
      height = std::min(image.height / image.width, most_tokens_) * step;
    }
    return {width, height};
  }

  int patch_, pool_, most_tokens_;
  bool resizes_;
  Filter filter_;
  PixelScale scale_;
};

}  // namespace

std::unique_ptr<ImageProcessor> make_gemma4(const ProcessorFiles& files) {
  return std::make_unique<Gemma4Processor>(files);
}

}  // namespace mlxk
