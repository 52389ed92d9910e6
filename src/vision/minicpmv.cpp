// MiniCPM-V 4.6: an overview that keeps the image's shape; of a large image slices of a grid too.
//   shape [patches, 3 * p * p] of overview and slices one after the other, inside each (channel, y, x);
//   grid {h0, w0, h1, w1, …} in patches
// Source: transformers' MiniCPMV4_6ImageProcessor and MiniCPMV4_6Processor.
#include <algorithm>
#include <cmath>
#include <limits>

#include "vision/families.h"
#include "vision/patches.h"
#include "vision/sizes.h"

namespace mlxk {

namespace {

class MiniCpmVProcessor : public ImageProcessor {
 public:
  explicit MiniCpmVProcessor(const ProcessorFiles& files)
      : most_slices_(files.image.whole("max_slice_nums", 9, 1, 64)),
        side_(files.image.whole("scale_resolution", 448, 1, 1 << 14)),
        patch_(files.image.whole("patch_size", 14, 1, 256)),
        merge_(files.image.text("downsample_mode", "16x") == "4x" ? 2 : 4),
        slices_(files.image.flag("slice_mode", true)),
        numbers_(files.image.flag("use_image_id", true)),
        filter_(files.image.filter(Filter::bicubic)),
        scale_(files.image, kHalf, kHalf) {}

  ProcessedImage process(const Image& image) const override {
    const TileGrid grid = slices_ ? grid_of(image) : TileGrid{};
    MediaData data;
    const auto add = [&](const Image& part, const char* begin, const char* end) {
      const auto values = merged_patches(part, scale_, patch_, 1);
      data.values.insert(data.values.end(), values.begin(), values.end());
      const int rows = part.height / patch_, cols = part.width / patch_;
      data.grid.insert(data.grid.end(), {rows, cols});
      return begin + repeated(image_token(), rows * cols / (merge_ * merge_)) + end;
    };
    std::string text = numbers_ ? kNumber : "";
    const Size whole = target(image.width, image.height, grid.count() == 1);
    text += add(resize(image, whole.width, whole.height, filter_), "<image>", "</image>");
    if (grid.count() > 1) {
      const Size cell = target(static_cast<double>(divided(image.width, grid.cols)) / grid.cols,
                               static_cast<double>(divided(image.height, grid.rows)) / grid.rows, true);
      const Image sheet = resize(image, cell.width * grid.cols, cell.height * grid.rows, filter_);
      const auto parts = cut(sheet, grid.cols, grid.rows);
      for (size_t i = 0; i < parts.size(); ++i) {
        if (i > 0 && i % static_cast<size_t>(grid.cols) == 0) text += "\n";
        text += add(parts[i], "<slice>", "</slice>");
      }
    }
    const int width = 3 * patch_ * patch_;
    data.shape = {static_cast<int>(data.values.size() / static_cast<size_t>(width)), width};
    return processed(std::move(data), std::move(text), image_token());
  }
  std::string placeholder(int /*index*/) const override { return image_token(); }
  std::string image_token() const override { return "<|image_pad|>"; }
  std::string finished(std::string prompt) const override {
    const std::string_view number = kNumber;
    const size_t inside = number.find("</");
    int index = 0;
    for (size_t at = prompt.find(number); at != std::string::npos; at = prompt.find(number, at + 1))
      prompt.insert(at + inside, std::to_string(index++));
    return prompt;
  }

 private:
  static constexpr const char* kNumber = "<image_id></image_id>";

  /// The multiple of `divisor` nearest to `length`, at least one.
  static int divided(double length, int divisor) { return std::max(round_even(length / divisor) * divisor, divisor); }

  Size target(double width, double height, bool enlarges) const {
    if (height * width > static_cast<double>(side_) * side_ || enlarges) {
      const double shape = width / height;
      height = static_cast<int>(side_ / std::sqrt(shape));
      width = static_cast<int>(height * shape);
    }
    return {divided(width, patch_ * merge_), divided(height, patch_ * merge_)};
  }

  /// About as many slices as the image has times the pixels of one slice, in the grid whose shape is nearest by its
  /// logarithm.
  TileGrid grid_of(const Image& image) const {
    const double shape = std::log(static_cast<double>(image.width) / image.height);
    const double ratio = static_cast<double>(image.width) * image.height / (static_cast<double>(side_) * side_);
    const int wanted = static_cast<int>(std::min<double>(std::ceil(ratio), most_slices_));
    if (wanted <= 1) return {};
    TileGrid best;
    double least = std::numeric_limits<double>::infinity();
    for (int count = wanted - 1; count <= wanted + 1; ++count) {
      if (count == 1 || count > most_slices_) continue;
      for (int rows = 1; rows <= count; ++rows) {
        if (count % rows != 0) continue;
        const int cols = count / rows;
        const double error = std::abs(shape - std::log(static_cast<double>(cols) / rows));
        if (error < least || (error == least && rows > best.rows)) best = {cols, rows};
        least = std::min(least, error);
      }
    }
    return best;
  }

  int most_slices_, side_, patch_;
  int merge_;  // patches along the side of a token
  bool slices_, numbers_;
  Filter filter_;
  PixelScale scale_;
};

}  // namespace

std::unique_ptr<ImageProcessor> make_minicpmv(const ProcessorFiles& files) {
  return std::make_unique<MiniCpmVProcessor>(files);
}

}  // namespace mlxk
