// DeepSeek-OCR: the whole image on a gray square, and tiles of one that is larger than a tile.
//   values: the square [base, base, 3], then the tiles [tiles, side, side, 3]; shape {all values};
//   grid {base, side, cols, rows}; {…, 1, 1}: no tiles
// Source: DeepSeek's modeling_deepseekocr.py.
#include <algorithm>

#include "vision/families.h"
#include "vision/sizes.h"

namespace mlxk {

namespace {

class DeepSeekOcrProcessor : public ImageProcessor {
 public:
  explicit DeepSeekOcrProcessor(const ProcessorFiles& files) : scale_(rounded_scale(files.image)) {}

  ProcessedImage process(const Image& image) const override {
    TileGrid grid;
    if (image.width > kTile || image.height > kTile) grid = nearest_grid(size_of(image), {kTile, kTile}, 2, 9);
    const Image square = on_gray(image);
    MediaData data = tiles_media({&square, 1}, scale_);
    std::string text = repeated(image_token(), (queries(kBase) + 1) * queries(kBase) + 1);
    if (grid.count() > 1) {
      const Image sheet = resize(image, kTile * grid.cols, kTile * grid.rows, Filter::bicubic);
      const MediaData tiles = tiles_media(cut(sheet, grid.cols, grid.rows), scale_);
      data.values.insert(data.values.end(), tiles.values.begin(), tiles.values.end());
      text += repeated(image_token(), (queries(kTile) * grid.cols + 1) * queries(kTile) * grid.rows);
    }
    data.shape = {static_cast<int>(data.values.size())};
    data.grid = {kBase, kTile, grid.cols, grid.rows};
    return processed(std::move(data), std::move(text), image_token());
  }
  std::string placeholder(int /*index*/) const override { return image_token(); }
  std::string image_token() const override { return "<image>"; }
  std::string plain_prompt(const std::string& text, int images) const override {
    return repeated(image_token() + "\n", images) + text;
  }

 private:
  static constexpr int kBase = 1024, kTile = 640;
  static int queries(int side) { return side / 64; }  // tokens along a side

  /// The model was trained on pixels in bfloat16.
  static PixelScale rounded_scale(const Settings& image) { return PixelScale(image, kHalf, kHalf).rounded(); }

  Image on_gray(const Image& image) const {
    const double shape = static_cast<double>(image.width) / image.height;
    Size size{kBase, kBase};
    if (shape > 1)
      size.height = std::max(round_even(static_cast<double>(image.height) / image.width * kBase), 1);
    else if (shape < 1)
      size.width = std::max(round_even(shape * kBase), 1);
    Image square = blank({kBase, kBase}, {127, 127, 127});
    paste(square, resize(image, size.width, size.height, Filter::bicubic), round_even((kBase - size.width) * 0.5),
          round_even((kBase - size.height) * 0.5));
    return square;
  }

  PixelScale scale_;
};

}  // namespace

std::unique_ptr<ImageProcessor> make_deepseekocr(const ProcessorFiles& files) {
  return std::make_unique<DeepSeekOcrProcessor>(files);
}

}  // namespace mlxk
