// LLaVA 1.5 on CLIP or SigLIP: one image, resized and cut to a square.
//   shape [1, H, W, 3], no grid
// Source: transformers' LlavaProcessor with CLIPImageProcessor, SiglipImageProcessor or LlavaImageProcessor.
#include "vision/families.h"
#include "vision/sizes.h"

namespace mlxk {

namespace {

class LlavaProcessor : public ImageProcessor {
 public:
  explicit LlavaProcessor(const ProcessorFiles& files)
      : scale_(files.image, kClipMean, kClipStd), filter_(files.image.filter(Filter::bicubic)) {
    const int side = files.vision.whole("image_size", 336, 1, 1 << 14);
    const bool clip = files.vision.text("model_type", "clip_vision_model") == "clip_vision_model";
    resizes_ = files.image.flag("do_resize", true);
    size_ = files.image.size("size", {side, side});
    keeps_shape_ = files.image.json("size").is_object() && files.image.inner("size").has("shortest_edge");
    cuts_ = files.image.flag("do_center_crop", clip);
    crop_ = files.image.size("crop_size", {side, side});
    pads_ = files.image.flag("do_pad", false);
    const auto mean = files.image.color("image_mean", kClipMean);
    for (size_t c = 0; c < 3; ++c) background_[c] = static_cast<uint8_t>(static_cast<int>(mean[c] * 255));
    patch_ = files.vision.whole("patch_size", 14);
    extra_ = clip ? 1 : 0;
    if (files.config.text("vision_feature_select_strategy", "default") == "default") --extra_;
    token_ = "<image>";
  }

  ProcessedImage process(const Image& image) const override {
    Image result = pads_ ? pad_to_square(image, background_) : image;
    if (resizes_) {
      const Size size = keeps_shape_ ? shortest_to(size_of(result), size_.width) : size_;
      result = resize(result, size.width, size.height, filter_);
    }
    if (cuts_) result = center_crop(result, crop_);
    const int features = (result.height / patch_) * (result.width / patch_) + extra_;
    return processed(tiles_media({&result, 1}, scale_), repeated(token_, features), token_);
  }
  std::string placeholder(int /*index*/) const override { return token_; }
  std::string image_token() const override { return token_; }

 private:
  PixelScale scale_;
  Filter filter_;
  bool resizes_, keeps_shape_, cuts_, pads_;
  Size size_, crop_;
  Color background_{};
  int patch_;
  int extra_;  // features in addition to the patches': the class token's, unless it is dropped
  std::string token_;
};

}  // namespace

std::unique_ptr<ImageProcessor> make_llava(const ProcessorFiles& files) {
  if (files.vision.text("model_type", "") == "pixtral") return make_pixtral(files);
  return std::make_unique<LlavaProcessor>(files);
}

}  // namespace mlxk
