// FastVLM and Florence-2: one square.
//   shape [1, S, S, 3], no grid
// Source: Apple's FastVLM and transformers' Florence2Processor.
#include <fmt/format.h>

#include <array>
#include <utility>

#include "base/error.h"
#include "vision/families.h"

namespace mlxk {

namespace {

class FastVlmProcessor : public ImageProcessor {
 public:
  explicit FastVlmProcessor(const ProcessorFiles& files)
      : size_(files.image.size("size", {1024, 1024})),
        filter_(files.image.filter(Filter::bicubic)),
        scale_(files.image, {0, 0, 0}, {1, 1, 1}) {
    const int side = size_.width / 64;  // the tower's stride
    length_ = side > 0 ? side * side : 1;
  }

  ProcessedImage process(const Image& image) const override {
    const Image square = resize(pad_to_square(image, {}), size_.width, size_.height, filter_);
    return processed(tiles_media({&square, 1}, scale_), repeated(image_token(), length_), image_token());
  }
  std::string placeholder(int /*index*/) const override { return "<image>"; }
  /// The model's own id of image tokens is -200; here any token stands for it.
  std::string image_token() const override { return "<|endoftext|>"; }

 private:
  Size size_;
  Filter filter_;
  PixelScale scale_;
  int length_;
};

class Florence2Processor : public ImageProcessor {
 public:
  explicit Florence2Processor(const ProcessorFiles& files)
      : size_(files.image.size("size", {768, 768})),
        filter_(files.image.filter(Filter::bicubic)),
        scale_(files.image, kImageNetMean, kImageNetStd),
        length_(files.image.whole("image_seq_length", 577, 1, 1 << 16)),
        // Microsoft's vocabulary has no token of images; there any token stands for it.
        image_token_(files.vision.has("dim_embed") ? "<pad>" : "<image>") {}

  ProcessedImage process(const Image& image) const override {
    const Image square = resize(image, size_.width, size_.height, filter_);
    return processed(tiles_media({&square, 1}, scale_), repeated(image_token(), length_), image_token());
  }
  std::string placeholder(int /*index*/) const override { return image_token(); }
  std::string image_token() const override { return image_token_; }
  std::string plain_prompt(const std::string& text, int images) const override {
    return repeated(image_token(), images) + "<s>" + sentence(text) + "</s>";
  }

 private:
  /// The prompt for a task as in the model's training. Throws invalid for a task that takes no text beside text.
  static std::string sentence(const std::string& text) {
    constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kTasks{{
        {"<OCR>", "What is the text in the image?"},
        {"<OCR_WITH_REGION>", "What is the text in the image, with regions?"},
        {"<CAPTION>", "What does the image describe?"},
        {"<DETAILED_CAPTION>", "Describe in detail what is shown in the image."},
        {"<MORE_DETAILED_CAPTION>", "Describe with a paragraph what is shown in the image."},
        {"<OD>", "Locate the objects with category name in the image."},
        {"<DENSE_REGION_CAPTION>", "Locate the objects in the image, with their descriptions."},
        {"<REGION_PROPOSAL>", "Locate the region proposals in the image."},
    }};
    constexpr std::array<std::array<std::string_view, 3>, 7> kTasksWithInput{{
        {"<CAPTION_TO_PHRASE_GROUNDING>", "Locate the phrases in the caption: ", ""},
        {"<REFERRING_EXPRESSION_SEGMENTATION>", "Locate ", " in the image with mask"},
        {"<REGION_TO_SEGMENTATION>", "What is the polygon mask of region ", ""},
        {"<OPEN_VOCABULARY_DETECTION>", "Locate ", " in the image."},
        {"<REGION_TO_CATEGORY>", "What is the region ", "?"},
        {"<REGION_TO_DESCRIPTION>", "What does the region ", " describe?"},
        {"<REGION_TO_OCR>", "What text is in the region ", "?"},
    }};
    for (const auto& [task, words] : kTasks) {
      if (text == task) return std::string(words);
      if (text.find(task) == text.npos) continue;
      throw Error(ErrorKind::invalid, fmt::format("the task {} must be the whole prompt", task));
    }
    for (const auto& [task, before, after] : kTasksWithInput) {
      const size_t at = text.find(task);
      if (at == std::string::npos) continue;
      std::string input = text.substr(0, at) + text.substr(at + task.size());
      input.erase(0, std::min(input.find_first_not_of(" \t\n"), input.size()));
      input.erase(input.find_last_not_of(" \t\n") + 1);
      return std::string(before) + input + std::string(after);
    }
    return text;
  }

  Size size_;
  Filter filter_;
  PixelScale scale_;
  int length_;
  std::string image_token_;
};

}  // namespace

std::unique_ptr<ImageProcessor> make_fastvlm(const ProcessorFiles& files) {
  return std::make_unique<FastVlmProcessor>(files);
}

std::unique_ptr<ImageProcessor> make_florence2(const ProcessorFiles& files) {
  return std::make_unique<Florence2Processor>(files);
}

}  // namespace mlxk
