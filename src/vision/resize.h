#pragma once

#include <vector>

#include "media/image.h"

namespace mlxk {

/// Pillow's filters with their numbers, as in preprocessor_config.json's `resample`.
enum class Filter { nearest = 0, lanczos = 1, bilinear = 2, bicubic = 3, box = 4, hamming = 5 };

/// Throws invalid if an image of that size would have no pixels or too many.
void check_resized(int width, int height);

/// `image` resized to `width` x `height` pixels, bit for bit as in Pillow 13: shrinking widens the filter; one pass
/// over the rows and one over the columns, each rounded to bytes.
Image resize(const Image& image, int width, int height, Filter filter);

/// An image whose values need not be integers.
struct FloatImage {
  int width = 0, height = 0;
  std::vector<float> rgb;  // [height, width, 3]
};

/// Resizes like torch.nn.functional.interpolate(antialias=True): bilinear or bicubic.
FloatImage resize_antialias(const FloatImage& image, int width, int height, Filter filter);
/// Resizes like torch.nn.functional.interpolate(mode="bicubic"): a = -0.75, four pixels even when shrinking.
FloatImage resize_bicubic(const FloatImage& image, int width, int height);

}  // namespace mlxk
