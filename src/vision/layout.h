#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "vision/settings.h"
#include "worker/media.h"

namespace mlxk {

using Color = std::array<uint8_t, 3>;

/// An image of one colour. Throws invalid for more pixels than an image may have.
Image blank(Size size, Color fill = {});
/// Copies `from` to (x, y) of `to`; the part outside is left out.
void paste(Image& to, const Image& from, int x, int y);
/// Pixels [x, x + width) x [y, y + height); black outside the image.
Image crop(const Image& image, int x, int y, Size size);
/// The centre of the image as transformers crops it; black where the image is smaller.
Image center_crop(const Image& image, Size size);
/// `cols` x `rows` parts of equal size, row by row.
std::vector<Image> cut(const Image& image, int cols, int rows);
/// The image padded to a square on both sides.
Image pad_to_square(const Image& image, Color fill);

/// Converts bytes to the floats that the model reads, with transformers' order of operations: x * scale in double, then
/// (x - mean) / std in float.
class PixelScale {
 public:
  PixelScale(double scale, const std::array<double, 3>* mean, const std::array<double, 3>* std);
  /// Reads do_rescale, rescale_factor, do_normalize, image_mean and image_std.
  PixelScale(const Settings& image, const std::array<double, 3>& mean, const std::array<double, 3>& std);
  /// The same as computed by torch in bfloat16: each step is rounded.
  static PixelScale in_bfloat16(const Settings& image, const std::array<double, 3>& mean,
                                const std::array<double, 3>& std);
  /// The results rounded to bfloat16.
  PixelScale rounded() const;
  float operator()(size_t channel, uint8_t value) const { return table_[channel][value]; }

 private:
  std::array<std::array<float, 256>, 3> table_;
};

/// Images of one size as [tiles, height, width, 3].
MediaData tiles_media(std::span<const Image> tiles, const PixelScale& scale, std::vector<int> grid = {});

/// Appends the rows of patches of `side` pixels: (row, column) of patches, inside (y, x, channel).
void append_patches(std::vector<float>& to, const Image& image, const PixelScale& scale, int side);

/// `text` repeated `count` times.
std::string repeated(std::string_view text, int count);

}  // namespace mlxk
