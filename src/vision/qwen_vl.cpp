// Qwen2-VL, Qwen2.5-VL, Qwen3-VL, Qwen3.5, GLM-4.1V: the image keeps its shape, in whole groups of merged patches.
//   shape [patches, 3 * p * p] in order (H/m, W/m, m, m), inside a row (channel, y, x); grid {1, h, w} in patches
// The frame is not doubled to the kernel's two: the tower sums its kernel instead.
// Source: transformers' Qwen2VLImageProcessor, Qwen2VLProcessor, Glm4vImageProcessor, Glm4vProcessor.
#include <algorithm>

#include "vision/families.h"
#include "vision/patches.h"
#include "vision/sizes.h"

namespace mlxk {

namespace {

/// The defaults of a family's settings.
struct QwenDefaults {
  int patch;
  const std::array<double, 3>& mean;
  const std::array<double, 3>& std;
  int least, most;    // pixels
  bool frames;        // the bounds count all frames' pixels
  const char* token;  // in the prompt
};

constexpr QwenDefaults kQwen2{14, kClipMean, kClipStd, 56 * 56, 28 * 28 * 1280, false, "<|image_pad|>"};
constexpr QwenDefaults kQwen3{16, kHalf, kHalf, 65536, 16777216, false, "<|image_pad|>"};
constexpr QwenDefaults kGlm4v{14, kClipMean, kClipStd, 112 * 112, 28 * 28 * 15000, true, "<|image|>"};

class QwenVlProcessor : public ImageProcessor {
 public:
  QwenVlProcessor(const ProcessorFiles& files, const QwenDefaults& defaults)
      : patch_(files.image.whole("patch_size", files.vision.whole("patch_size", defaults.patch), 1, 256)),
        merge_(files.image.whole("merge_size", files.vision.whole("spatial_merge_size", 2), 1, 16)),
        frames_(defaults.frames ? files.image.whole("temporal_patch_size", 2, 1, 16) : 1),
        filter_(files.image.filter(Filter::bicubic)),
        resizes_(files.image.flag("do_resize", true)),
        scale_(files.image, defaults.mean, defaults.std),
        token_(defaults.token) {
    const Settings size = files.image.inner("size");
    const auto bound = [&](const char* key, const char* edge, int fallback) {
      constexpr int kMax = 1 << 28;
      return files.image.whole(key, size.whole(key, size.whole(edge, fallback, 1, kMax), 1, kMax), 1, kMax);
    };
    least_ = bound("min_pixels", "shortest_edge", defaults.least);
    most_ = bound("max_pixels", "longest_edge", defaults.most);
  }

  ProcessedImage process(const Image& image) const override {
    const Size size = target(size_of(image));
    const Image sized = resizes_ ? resize(image, size.width, size.height, filter_) : image;
    const int rows = sized.height / patch_, cols = sized.width / patch_;
    MediaData data;
    data.values = merged_patches(sized, scale_, patch_, merge_);
    data.shape = {rows * cols, 3 * patch_ * patch_};
    data.grid = {1, rows, cols};
    return processed(std::move(data), repeated(image_token(), rows * cols / (merge_ * merge_)), image_token());
  }
  std::string placeholder(int /*index*/) const override { return token_; }
  std::string image_token() const override { return token_; }

 private:
  Size target(Size size) const {
    const int cell = patch_ * merge_;
    if (frames_ == 1) return smart_resize(size, cell, least_, most_);
    if (size.width < cell || size.height < cell) {  // GLM enlarges small images first
      const double scale = std::max(static_cast<double>(cell) / size.height, static_cast<double>(cell) / size.width);
      size = {static_cast<int>(size.width * scale), static_cast<int>(size.height * scale)};
    }
    return smart_resize(size, cell, least_, most_, frames_);
  }

  int patch_, merge_, frames_;
  Filter filter_;
  bool resizes_;
  PixelScale scale_;
  std::string token_;
  int least_, most_;  // pixels
};

}  // namespace

std::unique_ptr<ImageProcessor> make_qwen_vl(const ProcessorFiles& files) {
  const std::string type = files.config.text("model_type", "");
  const QwenDefaults& defaults = type == "glm4v" ? kGlm4v : type.starts_with("qwen3") ? kQwen3 : kQwen2;
  return std::make_unique<QwenVlProcessor>(files, defaults);
}

}  // namespace mlxk
