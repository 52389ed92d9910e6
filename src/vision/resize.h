#pragma once

#include <vector>

#include "media/image.h"

namespace mlxk {

/// Pillow's filters and their numbers, which preprocessor_config.json's `resample` has.
enum class Filter { nearest = 0, lanczos = 1, bilinear = 2, bicubic = 3, box = 4, hamming = 5 };

/// Throws invalid where an image of that size would have no pixels or too many.
void check_resized(int width, int height);

/// `image` in `width` x `height` pixels, bit for bit as Pillow 13 resizes it: shrinking widens the filter; a pass over
/// the rows and one over the columns, each rounded to bytes.
Image resize(const Image& image, int width, int height, Filter filter);

/// An image whose values need not be whole.
struct FloatImage {
  int width = 0, height = 0;
  std::vector<float> rgb;  // [height, width, 3]
};

/// As torch.nn.functional.interpolate(antialias=True) does: bilinear or bicubic.
FloatImage resize_antialias(const FloatImage& image, int width, int height, Filter filter);
/// As torch.nn.functional.interpolate(mode="bicubic") does: a = -0.75, four pixels even where it shrinks.
FloatImage resize_bicubic(const FloatImage& image, int width, int height);

}  // namespace mlxk
