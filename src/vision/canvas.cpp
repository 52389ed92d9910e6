// Llama 3.2 Vision (mllama) and Llama 4: the image on a canvas of tiles, padded on the right and below.
//   mllama: shape [tiles, S, S, 3], the tiles used, row by row; grid {rows, cols}
//   llama4: the same, and where there are several tiles the whole image last
// Source: transformers' MllamaImageProcessor, Llama4ImageProcessor and Llama4Processor.
#include <algorithm>
#include <cmath>
#include <utility>

#include "vision/families.h"
#include "vision/sizes.h"

namespace mlxk {

namespace {

/// The image as large as it fits on a canvas of `grid` tiles, enlarged at most to a tile.
Image on_canvas(const Image& image, TileGrid grid, int tile, Filter filter) {
  const Size canvas{grid.cols * tile, grid.rows * tile};
  const Size room{std::clamp(image.width, tile, canvas.width), std::clamp(image.height, tile, canvas.height)};
  const Size size = cut_inside(size_of(image), room);
  Image result = blank(canvas);
  paste(result, resize(image, size.width, size.height, filter), 0, 0);
  return result;
}

class MllamaProcessor : public ImageProcessor {
 public:
  explicit MllamaProcessor(const ProcessorFiles& files)
      : tile_(files.image.size("size", {560, 560}).height),
        filter_(files.image.filter(Filter::bilinear)),
        scale_(files.image, kHalf, kHalf) {
    const int most = files.image.whole("max_image_tiles", files.vision.whole("max_num_tiles", 4), 1, 64);
    for (int rows = 1; rows <= most; ++rows)
      for (int cols = 1; cols * rows <= most; ++cols) grids_.push_back({cols, rows});
  }

  ProcessedImage process(const Image& image) const override {
    const TileGrid grid = canvas_of<double>(size_of(image), grids_, tile_);
    const auto tiles = cut(on_canvas(image, grid, tile_, filter_), grid.cols, grid.rows);
    return processed(tiles_media(tiles, scale_, {grid.rows, grid.cols}), image_token(), image_token());
  }
  std::string placeholder(int /*index*/) const override { return image_token(); }
  std::string image_token() const override { return "<|image|>"; }

 private:
  int tile_;
  Filter filter_;
  PixelScale scale_;
  std::vector<TileGrid> grids_;
};

class Llama4Processor : public ImageProcessor {
 public:
  explicit Llama4Processor(const ProcessorFiles& files)
      : tile_(files.image.size("size", {336, 336}).height),
        filter_(files.image.filter(Filter::bilinear)),
        scale_(PixelScale::in_bfloat16(files.image, kHalf, kHalf)) {
    const int patches = tile_ / files.processor.whole("patch_size", files.vision.whole("patch_size", 14));
    const double ratio = files.processor.real("pixel_shuffle_ratio", files.vision.real("pixel_shuffle_ratio", 0.5));
    const int merged = std::max(static_cast<int>(std::lround(1 / (ratio * ratio))), 1);
    length_ = std::max(patches * patches / merged, 1);
    read_grids(files.image.whole("max_patches", 16, 1, 64));
  }

  ProcessedImage process(const Image& image) const override {
    const TileGrid grid = canvas_of<float>(size_of(image), grids_, tile_);
    auto tiles = cut(on_canvas(image, grid, tile_, filter_), grid.cols, grid.rows);
    const std::string features = repeated("<|patch|>", length_);
    std::string text = "<|image_start|>";
    if (grid.count() > 1) {
      tiles.push_back(resize(image, tile_, tile_, filter_));
      for (int row = 0; row < grid.rows; ++row) {
        for (int col = 0; col < grid.cols; ++col) text += (col > 0 ? "<|tile_x_separator|>" : "") + features;
        text += "<|tile_y_separator|>";
      }
    }
    text += "<|image|>" + features + "<|image_end|>";
    return processed(tiles_media(tiles, scale_, {grid.rows, grid.cols}), std::move(text), image_token());
  }
  std::string placeholder(int /*index*/) const override { return "<|image|>"; }
  std::string image_token() const override { return "<|patch|>"; }

 private:
  /// Grids of one shape are adjacent; shapes come in the order of their smallest counts of tiles.
  void read_grids(int most) {
    std::vector<std::pair<double, std::vector<TileGrid>>> shapes;
    for (int count = most; count > 0; --count) {
      for (int rows = 1; rows <= count; ++rows) {
        if (count % rows != 0) continue;
        const TileGrid grid{count / rows, rows};
        const double shape = static_cast<double>(rows) / grid.cols;
        const auto at = std::find_if(shapes.begin(), shapes.end(), [&](const auto& s) { return s.first == shape; });
        if (at == shapes.end())
          shapes.push_back({shape, {grid}});
        else
          at->second.push_back(grid);
      }
    }
    for (const auto& [shape, grids] : shapes) grids_.insert(grids_.end(), grids.begin(), grids.end());
  }

  int tile_;
  Filter filter_;
  PixelScale scale_;
  std::vector<TileGrid> grids_;
  int length_;  // tokens of a tile
};

}  // namespace

std::unique_ptr<ImageProcessor> make_mllama(const ProcessorFiles& files) {
  return std::make_unique<MllamaProcessor>(files);
}

std::unique_ptr<ImageProcessor> make_llama4(const ProcessorFiles& files) {
  return std::make_unique<Llama4Processor>(files);
}

}  // namespace mlxk
