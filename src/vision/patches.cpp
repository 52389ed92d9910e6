#include "vision/patches.h"

namespace mlxk {

std::vector<float> merged_patches(const Image& image, const PixelScale& scale, int side, int merge) {
  const auto stride = static_cast<size_t>(image.width) * 3;
  std::vector<float> values(image.rgb.size());
  float* to = values.data();
  const auto put = [&](int top, int left) {
    const uint8_t* corner = image.rgb.data() + static_cast<size_t>(top) * stride + static_cast<size_t>(left) * 3;
    for (size_t c = 0; c < 3; ++c)
      for (size_t y = 0; y < static_cast<size_t>(side); ++y)
        for (size_t x = 0; x < static_cast<size_t>(side); ++x) *to++ = scale(c, corner[y * stride + x * 3 + c]);
  };
  const int cell = side * merge;
  for (int top = 0; top + cell <= image.height; top += cell)
    for (int left = 0; left + cell <= image.width; left += cell)
      for (int y = 0; y < merge; ++y)
        for (int x = 0; x < merge; ++x) put(top + y * side, left + x * side);
  values.resize(static_cast<size_t>(to - values.data()));
  return values;
}

}  // namespace mlxk
