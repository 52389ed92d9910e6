// Gemma 3 and 3n: a square; in Gemma 3 with pan and scan, parts of a long image as further squares.
//   shape [images, S, S, 3], the whole first, no grid
// Source: transformers' Gemma3ImageProcessor, Gemma3Processor, Gemma3nProcessor.
#include <algorithm>
#include <cmath>

#include "vision/families.h"

namespace mlxk {

namespace {

constexpr std::array<double, 3> kZero{0, 0, 0}, kOne{1, 1, 1};

class Gemma3Processor : public ImageProcessor {
 public:
  Gemma3Processor(const ProcessorFiles& files, bool n)
      : n_(n),
        size_(files.image.size("size", n ? Size{768, 768} : Size{896, 896})),
        filter_(files.image.filter(Filter::bilinear)),
        scale_(files.image, n ? kZero : kHalf, n ? kOne : kHalf),
        pans_(!n && files.image.flag("do_pan_and_scan", false)),
        least_crop_(files.image.whole("pan_and_scan_min_crop_size", 256)),
        most_crops_(files.image.whole("pan_and_scan_max_num_crops", 4, 1, 64)),
        least_ratio_(files.image.real("pan_and_scan_min_ratio_to_activate", 1.2)) {
    const int length = files.processor.whole(
        "image_seq_length", files.image.whole("image_seq_length", files.config.whole("mm_tokens_per_image", 256)), 1,
        1 << 16);
    sequence_ = "\n\n<start_of_image>" + repeated("<image_soft_token>", length) + "<end_of_image>\n\n";
  }

  ProcessedImage process(const Image& image) const override {
    std::vector<Image> images{resize(image, size_.width, size_.height, filter_)};
    std::string text = sequence_;
    const auto crops = pans_ ? crops_of(image) : std::vector<Image>{};
    for (const Image& part : crops) {
      images.push_back(resize(part, size_.width, size_.height, filter_));
      if (images.size() == 2)
        text =
            "Here is the original image " + sequence_ + " and here are some crops to help you see better " + sequence_;
      else
        text += " " + sequence_;
    }
    return processed(tiles_media(images, scale_), std::move(text), image_token());
  }
  std::string placeholder(int /*index*/) const override { return n_ ? image_token() : "<start_of_image>"; }
  std::string image_token() const override { return "<image_soft_token>"; }
  Attention attention() const override { return n_ ? Attention::causal : Attention::image_blocks; }

 private:
  /// Crops along the longer side; none if the image is not long enough.
  std::vector<Image> crops_of(const Image& image) const {
    const bool wide = image.width >= image.height;
    const int longer = std::max(image.width, image.height), shorter = std::min(image.width, image.height);
    const double ratio = static_cast<double>(longer) / shorter;
    if (ratio < least_ratio_) return {};
    int count = std::min(longer / least_crop_, static_cast<int>(std::floor(ratio + 0.5)));
    count = std::min(std::max(count, 2), most_crops_);
    const int length = (longer + count - 1) / count;
    if (std::min(length, shorter) < least_crop_) return {};
    std::vector<Image> crops;
    for (int i = 0; i < count; ++i) {
      const int begin = i * length, rest = std::min(length, longer - begin);
      crops.push_back(wide ? crop(image, begin, 0, {rest, shorter}) : crop(image, 0, begin, {shorter, rest}));
    }
    return crops;
  }

  bool n_;
  Size size_;
  Filter filter_;
  PixelScale scale_;
  bool pans_;
  int least_crop_, most_crops_;
  double least_ratio_;
  std::string sequence_;  // in the prompt for each square
};

}  // namespace

std::unique_ptr<ImageProcessor> make_gemma3(const ProcessorFiles& files) {
  return std::make_unique<Gemma3Processor>(files, files.config.text("model_type", "") == "gemma3n");
}

}  // namespace mlxk
