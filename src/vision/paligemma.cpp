// PaliGemma 1 and 2: a square, before the text, which sees it and itself both ways.
//   shape [1, S, S, 3], no grid
// Source: transformers' SiglipImageProcessor and PaliGemmaProcessor.
#include <algorithm>

#include "vision/families.h"

namespace mlxk {

namespace {

class PaliGemmaProcessor : public ImageProcessor {
 public:
  explicit PaliGemmaProcessor(const ProcessorFiles& files)
      : filter_(files.image.filter(Filter::bicubic)), scale_(files.image, kHalf, kHalf) {
    const int side = files.vision.whole("image_size", 224, 1, 1 << 14);
    size_ = files.image.size("size", {side, side});
    const int patches = side / files.vision.whole("patch_size", 14);
    length_ = files.image.whole("image_seq_length",
                                files.vision.whole("num_image_tokens", std::max(patches * patches, 1)), 1, 1 << 16);
  }

  ProcessedImage process(const Image& image) const override {
    const Image sized = resize(image, size_.width, size_.height, filter_);
    return processed(tiles_media({&sized, 1}, scale_), repeated(image_token(), length_), image_token());
  }
  std::string placeholder(int /*index*/) const override { return image_token(); }
  std::string plain_prompt(const std::string& text, int images) const override {
    return repeated(image_token(), images) + "<bos>" + text + "\n";
  }
  std::string image_token() const override { return "<image>"; }
  Attention attention() const override { return Attention::whole_prompt; }

 private:
  Filter filter_;
  PixelScale scale_;
  Size size_;
  int length_;
};

}  // namespace

std::unique_ptr<ImageProcessor> make_paligemma(const ProcessorFiles& files) {
  return std::make_unique<PaliGemmaProcessor>(files);
}

}  // namespace mlxk
