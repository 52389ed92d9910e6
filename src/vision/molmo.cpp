// Molmo (1): the whole image in one crop, then crops that overlap.
//   shape [crops, 576, 588], the whole first: patches row by row, inside each (y, x, channel)
//   grid {crops, token of each crop's 144 pooled patches (-1: none) …, padding of each crop's 576 patches …}; tokens
//   are counted among the <im_patch>; padding is 0: pad_embed[0], 1: pad_embed[1], 2: none is added to a patch
// Source: Ai2's MolmoImageProcessor and MolmoProcessor.
#include <algorithm>
#include <cmath>
#include <utility>

#include "vision/families.h"
#include "vision/sizes.h"

namespace mlxk {

namespace {

/// An image fitted into a larger one, and its place there.
struct FittedImage {
  FloatImage image;
  int left = 0, top = 0, width = 0, height = 0;
};

class MolmoProcessor : public ImageProcessor {
 public:
  explicit MolmoProcessor(const ProcessorFiles& files) : most_(files.image.whole("max_crops", 12, 1, 64)) {
    const auto mean = files.image.color("image_mean", kClipMean), std = files.image.color("image_std", kClipStd);
    for (size_t c = 0; c < 3; ++c) {
      mean_[c] = static_cast<float>(mean[c]);
      std_[c] = static_cast<float>(std[c]);
      if (std_[c] == 0) files.image.fail("image_std", "must not be 0");
    }
  }

  ProcessedImage process(const Image& image) const override {
    FloatImage floats{image.width, image.height, std::vector<float>(image.rgb.size())};
    std::transform(image.rgb.begin(), image.rgb.end(), floats.rgb.begin(),
                   [](uint8_t byte) { return static_cast<float>(byte) / 255; });
    const TileGrid grid = grid_of(image);
    MediaData data;
    append_crop(data.values, fit(floats, {kCrop, kCrop}).image, 0, 0);
    const FittedImage sheet = fit(floats, {grid.cols * kWindow + kMargin, grid.rows * kWindow + kMargin});
    for (int row = 0; row < grid.rows; ++row)
      for (int col = 0; col < grid.cols; ++col) append_crop(data.values, sheet.image, row * kWindow, col * kWindow);
    const int crops = grid.count() + 1;
    data.shape = {crops, kSide * kSide, kPatch * kPatch * 3};
    data.grid = {crops};
    append_tokens(data.grid, grid);
    append_padding(data.grid, grid, sheet);
    return processed(std::move(data), text_of(kPooled, kPooled) + text_of(pooled(grid.rows), pooled(grid.cols)),
                     image_token());
  }
  std::string placeholder(int /*index*/) const override { return "<|image|>"; }
  std::string image_token() const override { return "<im_patch>"; }
  std::string plain_prompt(const std::string& text, int images) const override {
    return "<|endoftext|>" + repeated(placeholder(0), images) + " User: " + text + " Assistant:";
  }

 private:
  // In pixels, except the sides in patches and in pooled patches. A crop overlaps the next by two borders.
  static constexpr int kPatch = 14, kCrop = 336, kBorder = 4, kMargin = 2 * kBorder * kPatch, kWindow = kCrop - kMargin;
  static constexpr int kSide = kCrop / kPatch, kPooled = kSide / 2, kWindowSide = kWindow / kPatch;

  static int pooled(int tiles) { return (tiles * kWindowSide + 2 * kBorder + 1) / 2; }

  /// The smallest enlargement of the image without its margins, else the smallest reduction.
  TileGrid grid_of(const Image& image) const {
    std::vector<TileGrid> grids;
    for (int rows = 1; rows <= most_; ++rows)
      for (int cols = 1; rows * cols <= most_; ++cols) grids.push_back({cols, rows});
    std::stable_sort(grids.begin(), grids.end(), [](auto a, auto b) { return a.count() < b.count(); });
    return canvas_of<float>({image.width - kMargin, image.height - kMargin}, grids, kWindow);
  }

  /// The image as large as it fits, centred, black around it, normalised.
  FittedImage fit(const FloatImage& image, Size room) const {
    const auto width = static_cast<float>(image.width), height = static_cast<float>(image.height);
    const float scale = std::min(static_cast<float>(room.width) / width, static_cast<float>(room.height) / height);
    FittedImage fitted{{room.width, room.height, {}}};
    fitted.width = std::max(static_cast<int>(width * scale), 1);
    fitted.height = std::max(static_cast<int>(height * scale), 1);
    fitted.left = (room.width - fitted.width) / 2;
    fitted.top = (room.height - fitted.height) / 2;
    const FloatImage inside = resize_antialias(image, fitted.width, fitted.height, Filter::bilinear);
    auto& rgb = fitted.image.rgb;
    rgb.resize(static_cast<size_t>(room.width) * static_cast<size_t>(room.height) * 3);
    const auto row = static_cast<size_t>(fitted.width) * 3;
    for (size_t y = 0; y < static_cast<size_t>(fitted.height); ++y) {
      const size_t line = (static_cast<size_t>(fitted.top) + y) * static_cast<size_t>(room.width);
      std::transform(inside.rgb.data() + y * row, inside.rgb.data() + (y + 1) * row,
                     rgb.data() + (line + static_cast<size_t>(fitted.left)) * 3,
                     [](float value) { return std::clamp(value, 0.0F, 1.0F); });
    }
    for (size_t i = 0; i < rgb.size(); ++i) rgb[i] = (rgb[i] - mean_[i % 3]) / std_[i % 3];
    return fitted;
  }

  static void append_crop(std::vector<float>& to, const FloatImage& sheet, int top, int left) {
    for (int row = 0; row < kSide; ++row) {
      for (int col = 0; col < kSide; ++col) {
        for (int y = 0; y < kPatch; ++y) {
          const auto line = static_cast<size_t>(top + row * kPatch + y) * static_cast<size_t>(sheet.width);
          const float* from = sheet.rgb.data() + (line + static_cast<size_t>(left + col * kPatch)) * 3;
          to.insert(to.end(), from, from + kPatch * 3);
        }
      }
    }
  }

  /// The pooled patches that belong to each crop alone, numbered crop by crop and again row by row over all crops of a
  /// row.
  static void append_tokens(std::vector<int>& to, TileGrid grid) {
    constexpr int kCount = kPooled * kPooled;
    std::vector<int> order(static_cast<size_t>(grid.count() * kCount), -1);
    int next = 0;
    const auto own = [](int at, int count) {  // from and to, in pooled patches
      const int begin = at == 0 ? 0 : kBorder / 2;
      const int length = kWindowSide + (at == 0 ? kBorder : 0) + (at == count - 1 ? kBorder : 0);
      return std::pair(begin, begin + (length + 1) / 2);
    };
    for (int row = 0; row < grid.rows; ++row) {
      for (int col = 0; col < grid.cols; ++col) {
        const auto [top, bottom] = own(row, grid.rows);
        const auto [left, right] = own(col, grid.cols);
        for (int y = top; y < bottom; ++y)
          for (int x = left; x < right; ++x)
            order[static_cast<size_t>(((row * grid.cols + col) * kPooled + y) * kPooled + x)] = next++;
      }
    }
    // The position, crop by crop, of the n-th pooled patch, row by row.
    std::vector<int> by_row;
    for (int row = 0; row < grid.rows; ++row)
      for (int y = 0; y < kPooled; ++y)
        for (int col = 0; col < grid.cols; ++col)
          for (int x = 0; x < kPooled; ++x) {
            const int number = order[static_cast<size_t>(((row * grid.cols + col) * kPooled + y) * kPooled + x)];
            if (number >= 0) by_row.push_back(number);
          }
    std::vector<int> token(by_row.size());
    for (size_t i = 0; i < by_row.size(); ++i) token[static_cast<size_t>(by_row[i])] = static_cast<int>(i);
    for (int i = 0; i < kCount; ++i) to.push_back(i);
    for (const int number : order) to.push_back(number < 0 ? -1 : kCount + token[static_cast<size_t>(number)]);
  }

  /// The share of each patch that the image covers. The model was trained with these values one crop too early, and
  /// with the last crop's values as if it were partly padded.
  static void append_padding(std::vector<int>& to, TileGrid grid, const FittedImage& sheet) {
    const auto covered = [](int begin, int from, int length) {
      return std::max(std::min(begin + kPatch, from + length) - std::max(begin, from), 0);
    };
    for (int row = 0; row < grid.rows; ++row)
      for (int col = 0; col < grid.cols; ++col)
        for (int y = 0; y < kSide; ++y)
          for (int x = 0; x < kSide; ++x) {
            const int pixels = covered(row * kWindow + y * kPatch, sheet.top, sheet.height) *
                               covered(col * kWindow + x * kPatch, sheet.left, sheet.width);
            to.push_back(pixels == 0 ? 0 : pixels < kPatch * kPatch ? 1 : 2);
          }
    to.insert(to.end(), kSide * kSide, 1);
  }

  static std::string text_of(int rows, int cols) {
    return "<im_start>" + repeated(repeated("<im_patch>", cols) + "<im_col>", rows) + "<im_end>";
  }

  int most_;  // crops besides the first
  std::array<float, 3> mean_{}, std_{};
};

}  // namespace

std::unique_ptr<ImageProcessor> make_molmo(const ProcessorFiles& files) {
  return std::make_unique<MolmoProcessor>(files);
}

}  // namespace mlxk
