// The filters and the order of the passes are those of Pillow's Resample.c and of torch's UpSample kernels.
#include "vision/resize.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "base/error.h"
#include "base/stop.h"
#include "vision/resize_rows.h"

namespace mlxk {

namespace {

double sinc(double x) {
  if (x == 0) return 1;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double support_of(Filter filter) {
  switch (filter) {
    case Filter::box: return 0.5;
    case Filter::bicubic: return 2;
    case Filter::lanczos: return 3;
    default: return 1;
  }
}

double weight_of(Filter filter, double x) {
  switch (filter) {
    case Filter::box: return x > -0.5 && x <= 0.5 ? 1 : 0;
    case Filter::hamming:
      x = std::abs(x);
      if (x == 0) return 1;
      if (x >= 1) return 0;
      x *= std::numbers::pi;
      return std::sin(x) / x * (0.54 + 0.46 * std::cos(x));
    case Filter::bicubic: {
      constexpr double a = -0.5;
      x = std::abs(x);
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
    }
    case Filter::lanczos: return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
    default: return std::max(0.0, 1 - std::abs(x));
  }
}

/// The source pixels from which each pixel along one side is computed.
struct Taps {
  int count = 0;                // for each pixel; taps past its own have weight 0
  std::vector<int32_t> begins;  // [out]
  std::vector<int32_t> counts;  // [out]
  std::vector<double> weights;  // [out, count]
};

Taps taps_of(int in, int out, Filter filter) {
  const double scale = static_cast<double>(in) / out, shrink = std::max(scale, 1.0);
  const double support = support_of(filter) * shrink;
  Taps taps;
  taps.count = static_cast<int>(std::ceil(support)) * 2 + 1;
  taps.weights.resize(static_cast<size_t>(out) * static_cast<size_t>(taps.count));
  for (int x = 0; x < out; ++x) {
    const double center = (x + 0.5) * scale;
    const int begin = std::max(static_cast<int>(center - support + 0.5), 0);
    const int end = std::min(static_cast<int>(center + support + 0.5), in);
    double* weights = taps.weights.data() + static_cast<size_t>(x) * static_cast<size_t>(taps.count);
    double sum = 0;
    for (int i = 0; i < end - begin; ++i) sum += weights[i] = weight_of(filter, (i + begin - center + 0.5) / shrink);
    for (int i = 0; sum != 0 && i < end - begin; ++i) weights[i] /= sum;
    taps.begins.push_back(begin);
    taps.counts.push_back(end - begin);
  }
  return taps;
}

int32_t fixed(double weight) { return static_cast<int32_t>((weight < 0 ? -0.5 : 0.5) + weight * (1 << kWeightBits)); }

Image resize_width(const Image& image, int width, int first, int last, Filter filter) {
  const Taps taps = taps_of(image.width, width, filter);
  const int count = (taps.count + kTapGroup - 1) / kTapGroup * kTapGroup;
  std::vector<int32_t> begins(taps.begins), weights(static_cast<size_t>(width) * 3 * static_cast<size_t>(count));
  for (int x = 0; x < width; ++x) {
    const auto at = static_cast<size_t>(x);
    // All `count` pixels must exist: the window moves left, its weights right.
    begins[at] = std::min(taps.begins[at], std::max(image.width - count, 0));
    const auto shift = static_cast<size_t>(taps.begins[at] - begins[at]);
    for (size_t i = 0; i < static_cast<size_t>(taps.counts[at]); ++i) {
      const int32_t weight = fixed(taps.weights[at * static_cast<size_t>(taps.count) + i]);
      for (size_t c = 0; c < 3; ++c) weights[(at * static_cast<size_t>(count) + shift + i) * 3 + c] = weight;
    }
  }
  const auto from_row = static_cast<size_t>(image.width) * 3, to_row = static_cast<size_t>(width) * 3;
  Image result{width, last - first, std::vector<uint8_t>(to_row * static_cast<size_t>(last - first))};
  std::vector<uint8_t> wide;  // a row narrower than its windows
  if (image.width < count) wide.resize(static_cast<size_t>(count) * 3);
  for (int y = first; y < last; ++y) {
    if (y % 64 == 0) check_stop();
    const uint8_t* row = image.rgb.data() + static_cast<size_t>(y) * from_row;
    if (!wide.empty()) row = static_cast<uint8_t*>(std::memcpy(wide.data(), row, from_row));
    resize_row(row, begins.data(), weights.data(), count, width,
               result.rgb.data() + static_cast<size_t>(y - first) * to_row);
  }
  return result;
}

/// `first` is the row of the whole image that `image` begins with.
Image resize_height(const Image& image, const Taps& taps, int height, int first) {
  const auto row = static_cast<size_t>(image.width) * 3;
  Image result{image.width, height, std::vector<uint8_t>(row * static_cast<size_t>(height))};
  std::vector<int32_t> weights(static_cast<size_t>(taps.count));
  for (size_t y = 0; y < static_cast<size_t>(height); ++y) {
    if (y % 64 == 0) check_stop();
    std::transform(taps.weights.data() + y * weights.size(), taps.weights.data() + (y + 1) * weights.size(),
                   weights.data(), fixed);
    blend_rows(image.rgb.data() + static_cast<size_t>(taps.begins[y] - first) * row, static_cast<int64_t>(row),
               weights.data(), taps.counts[y], static_cast<int64_t>(row), result.rgb.data() + y * row);
  }
  return result;
}

Image resize_nearest(const Image& image, int width, int height) {
  Image result{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * 3)};
  const double step_x = static_cast<double>(image.width) / width, step_y = static_cast<double>(image.height) / height;
  uint8_t* to = result.rgb.data();
  double v = step_y * 0.5;  // repeated additions, as in Pillow: products would round to other pixels
  for (int y = 0; y < height; ++y, v += step_y) {
    const auto row =
        static_cast<size_t>(std::min(static_cast<int>(v), image.height - 1)) * static_cast<size_t>(image.width);
    double u = step_x * 0.5;
    for (int x = 0; x < width; ++x, to += 3, u += step_x) {
      const auto col = static_cast<size_t>(std::min(static_cast<int>(u), image.width - 1));
      std::memcpy(to, image.rgb.data() + (row + col) * 3, 3);
    }
  }
  return result;
}

/// Pillow 13 begins with the columns if many more rows than columns are removed; earlier versions always began with the
/// rows.
bool columns_first(const Image& image, int width, int height) {
  return height < image.height && image.height - height > 2 * (image.width - width);
}

/// Sums in torch's order: along `step` (3: a row; a row's length: a column).
FloatImage apply(const FloatImage& image, const Taps& taps, bool columns) {
  FloatImage result = image;
  const auto out = static_cast<int>(taps.begins.size());
  (columns ? result.height : result.width) = out;
  result.rgb.assign(static_cast<size_t>(result.width) * static_cast<size_t>(result.height) * 3, 0);
  const std::vector<float> weights(taps.weights.begin(), taps.weights.end());
  float* to = result.rgb.data();
  const auto from_row = static_cast<size_t>(image.width) * 3;
  for (int y = 0; y < result.height; ++y) {
    for (int x = 0; x < result.width; ++x) {
      const auto at = static_cast<size_t>(columns ? y : x);
      const size_t step = columns ? from_row : 3, begin = static_cast<size_t>(taps.begins[at]);
      const float* from = image.rgb.data() + (columns ? begin * from_row + static_cast<size_t>(x) * 3
                                                      : static_cast<size_t>(y) * from_row + begin * 3);
      for (size_t c = 0; c < 3; ++c) {
        float sum = 0;
        for (size_t i = 0; i < static_cast<size_t>(taps.counts[at]); ++i)
          sum += weights[at * static_cast<size_t>(taps.count) + i] * from[i * step + c];
        *to++ = sum;
      }
    }
  }
  return result;
}

/// Four pixels around each; pixels past the edge equal the edge's.
Taps bicubic_taps(int in, int out) {
  constexpr double a = -0.75;
  const auto near = [](double x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
  const auto far = [](double x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
  Taps taps;
  taps.count = std::min(4, in);
  taps.weights.resize(static_cast<size_t>(out) * static_cast<size_t>(taps.count));
  for (int x = 0; x < out; ++x) {
    const double center = static_cast<double>(in) / out * (x + 0.5) - 0.5, floor = std::floor(center),
                 t = center - floor;
    const int begin = std::clamp(static_cast<int>(floor) - 1, 0, in - taps.count);
    const double weights[] = {far(t + 1), near(t), near(1 - t), far(2 - t)};
    for (int i = 0; i < 4; ++i) {
      const int pixel = std::clamp(static_cast<int>(floor) - 1 + i, 0, in - 1);
      taps.weights[static_cast<size_t>(x * taps.count + pixel - begin)] += weights[i];
    }
    taps.begins.push_back(begin);
    taps.counts.push_back(taps.count);
  }
  return taps;
}

}  // namespace

void check_resized(int width, int height) {
  if (width >= 1 && height >= 1 && static_cast<uint64_t>(width) * static_cast<uint64_t>(height) <= kImagePixels) return;
  throw Error(
      ErrorKind::invalid,
      fmt::format("the image is too narrow or too large: the model would take it in {} x {} pixels", width, height));
}

Image resize(const Image& image, int width, int height, Filter filter) {
  check_resized(width, height);
  if (width == image.width && height == image.height) return image;
  if (filter == Filter::nearest) return resize_nearest(image, width, height);
  if (height == image.height) return resize_width(image, width, 0, height, filter);
  const Taps rows = taps_of(image.height, height, filter);
  if (width == image.width) return resize_height(image, rows, height, 0);
  if (columns_first(image, width, height))
    return resize_width(resize_height(image, rows, height, 0), width, 0, height, filter);
  const int first = rows.begins.front(), last = rows.begins.back() + rows.counts.back();
  return resize_height(resize_width(image, width, first, last, filter), rows, height, first);
}

FloatImage resize_antialias(const FloatImage& image, int width, int height, Filter filter) {
  check_resized(width, height);
  FloatImage result = image;
  if (width != image.width) result = apply(result, taps_of(image.width, width, filter), false);
  if (height != image.height) result = apply(result, taps_of(image.height, height, filter), true);
  return result;
}

FloatImage resize_bicubic(const FloatImage& image, int width, int height) {
  check_resized(width, height);
  return apply(apply(image, bicubic_taps(image.width, width), false), bicubic_taps(image.height, height), true);
}

}  // namespace mlxk
