// Kimi-VL: the image keeps its shape and its size up to a bound of patches; padded or cut to merged patches.
//   shape [patches, 3 * p * p] row by row, inside each (channel, y, x); grid {h, w} in patches
// Source: Moonshot's KimiVLImageProcessor and KimiVLProcessor.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "vision/families.h"
#include "vision/patches.h"

namespace mlxk {

namespace {

class KimiVlProcessor : public ImageProcessor {
 public:
  explicit KimiVlProcessor(const ProcessorFiles& files)
      : patch_(files.image.whole("patch_size", files.vision.whole("patch_size", 14), 1, 256)),
        most_(files.image.whole("in_token_limit", 4096, 1, 1 << 20)),
        pads_(files.image.flag("pad_input", false)),
        scale_(files.image, kHalf, kHalf) {
    const Json& merge = files.image.json("merge_kernel_size");
    if (merge.is_null()) return;
    if (!merge.is_array() || merge.size() != 2 || merge[0] != merge[1] || !merge[0].is_number_unsigned() ||
        merge[0] < 1 || merge[0] > 16)
      files.image.fail("merge_kernel_size", "must be the same number twice, is " + merge.dump());
    merge_ = merge[0].get<int>();
  }

  ProcessedImage process(const Image& image) const override {
    const int64_t patches = int64_t{image.width / patch_} * (image.height / patch_);
    Image sized = image;
    if (patches > most_) {
      const double scale = std::sqrt(static_cast<double>(most_) / static_cast<double>(patches));
      sized = resize(image, std::max(static_cast<int>(image.width * scale), 1),
                     std::max(static_cast<int>(image.height * scale), 1), Filter::bicubic);
    }
    const int cell = patch_ * merge_;
    if (pads_) {
      sized = crop(sized, 0, 0, {(sized.width + cell - 1) / cell * cell, (sized.height + cell - 1) / cell * cell});
    } else {
      const Size size{sized.width / cell * cell, sized.height / cell * cell};
      if (size.width == 0 || size.height == 0) throw Error(ErrorKind::invalid, "the image is smaller than a token");
      sized = crop(sized, (sized.width - size.width) / 2, (sized.height - size.height) / 2, size);
    }
    const int rows = sized.height / patch_, cols = sized.width / patch_;
    if (rows >= kMaxSide || cols >= kMaxSide)
      throw Error(ErrorKind::invalid, "the image is too narrow: it has more than 511 patches along a side");
    MediaData data;
    data.values = merged_patches(sized, scale_, patch_, 1);
    data.shape = {rows * cols, 3 * patch_ * patch_};
    data.grid = {rows, cols};
    return processed(std::move(data), repeated(image_token(), rows * cols / (merge_ * merge_)), image_token());
  }
  std::string placeholder(int /*index*/) const override { return image_token(); }
  std::string image_token() const override { return "<|media_pad|>"; }

 private:
  static constexpr int kMaxSide = 512;  // patches that the position table is resized to

  int patch_, most_, merge_ = 2;
  bool pads_;
  PixelScale scale_;
};

}  // namespace

std::unique_ptr<ImageProcessor> make_kimi_vl(const ProcessorFiles& files) {
  return std::make_unique<KimiVlProcessor>(files);
}

}  // namespace mlxk
