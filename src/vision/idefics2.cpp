// Idefics2: the image keeps its shape within bounds; split, its four quarters and the whole.
//   shape [images, H, W, 3], images smaller than the largest padded with 0; grid {h0, w0, h1, w1, …} pixels of each
// Source: transformers' Idefics2ImageProcessor and Idefics2Processor.
#include <algorithm>
#include <cctype>

#include "vision/families.h"

namespace mlxk {

namespace {

class Idefics2Processor : public ImageProcessor {
 public:
  explicit Idefics2Processor(const ProcessorFiles& files)
      : shortest_(files.image.whole_in("size", "shortest_edge", 378, 1, 1 << 14)),
        longest_(files.image.whole_in("size", "longest_edge", 980, 1, 1 << 14)),
        splits_(files.image.flag("do_image_splitting", false)),
        resizes_(files.image.flag("do_resize", true)),
        filter_(files.image.filter(Filter::bilinear)),
        scale_(files.image, kHalf, kHalf),
        length_(files.processor.whole("image_seq_len", 64, 1, 1 << 16)) {}

  ProcessedImage process(const Image& image) const override {
    std::vector<Image> images;
    if (splits_ && image.width > 1 && image.height > 1) {
      const int x = image.width / 2, y = image.height / 2, right = image.width - x, below = image.height - y;
      images = {crop(image, 0, 0, {x, y}), crop(image, x, 0, {right, y}), crop(image, 0, y, {x, below}),
                crop(image, x, y, {right, below})};
    }
    images.push_back(image);
    Size largest;
    std::vector<int> sizes;
    for (Image& part : images) {
      const Size size = resizes_ ? target(part) : size_of(part);
      part = resize(part, size.width, size.height, filter_);
      largest = {std::max(largest.width, size.width), std::max(largest.height, size.height)};
      sizes.insert(sizes.end(), {size.height, size.width});
    }
    std::string text = kFake;
    for (size_t i = 0; i < images.size(); ++i) text += repeated("<image>", length_) + kFake;
    return processed(padded(images, largest, sizes), std::move(text), "<image>");
  }
  std::string placeholder(int /*index*/) const override { return "<image>"; }
  std::string image_token() const override { return "<image>"; }
  /// Consecutive images share a mark; a space separates it from a following word.
  std::string finished(std::string prompt) const override {
    const std::string mark = kFake, twice = mark + mark;
    for (size_t at = prompt.find(twice); at != std::string::npos; at = prompt.find(twice, at + mark.size()))
      prompt.erase(at, mark.size());
    for (size_t at = prompt.find(mark); at != std::string::npos; at = prompt.find(mark, at)) {
      at += mark.size();
      if (at < prompt.size() && prompt[at] != '<' && !std::isspace(static_cast<unsigned char>(prompt[at])))
        prompt.insert(at, " ");
    }
    return prompt;
  }

 private:
  static constexpr const char* kFake = "<fake_token_around_image>";

  Size target(const Image& image) const {
    Size size = size_of(image);
    const double shape = static_cast<double>(size.width) / size.height;
    if (size.width >= size.height && size.width > longest_)
      size = {longest_, static_cast<int>(longest_ / shape)};
    else if (size.height > size.width && size.height > longest_)
      size = {static_cast<int>(longest_ * shape), longest_};
    return {std::max(size.width, shortest_), std::max(size.height, shortest_)};
  }

  /// The padding is 0 after normalising.
  MediaData padded(const std::vector<Image>& images, Size largest, std::vector<int> sizes) const {
    if (images.size() == 1) return tiles_media(images, scale_, std::move(sizes));
    MediaData data;
    data.shape = {static_cast<int>(images.size()), largest.height, largest.width, 3};
    data.grid = std::move(sizes);
    const auto row = static_cast<size_t>(largest.width) * 3;
    data.values.resize(images.size() * static_cast<size_t>(largest.height) * row);
    float* to = data.values.data();
    for (const Image& image : images) {
      const auto bytes = static_cast<size_t>(image.width) * 3;
      for (size_t i = 0; i < image.rgb.size(); ++i) to[i / bytes * row + i % bytes] = scale_(i % 3, image.rgb[i]);
      to += static_cast<size_t>(largest.height) * row;
    }
    return data;
  }

  int shortest_, longest_;
  bool splits_, resizes_;
  Filter filter_;
  PixelScale scale_;
  int length_;  // tokens of an image
};

}  // namespace

std::unique_ptr<ImageProcessor> make_idefics2(const ProcessorFiles& files) {
  return std::make_unique<Idefics2Processor>(files);
}

}  // namespace mlxk
