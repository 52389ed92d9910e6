#include "vision/sizes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"

namespace mlxk {

int round_even(double value) { return static_cast<int>(std::nearbyint(value)); }

Size shortest_to(Size size, int shortest) {
  const auto other = [&](int longer, int shorter) {
    const double length = static_cast<double>(int64_t{shortest} * longer) / shorter;
    if (length > 1 << 20)
      throw Error(ErrorKind::invalid, fmt::format("the image is too narrow: {} x {}", size.width, size.height));
    return static_cast<int>(length);
  };
  if (size.width <= size.height) return {shortest, other(size.height, size.width)};
  return {other(size.width, size.height), shortest};
}

Size smart_resize(Size size, int factor, int64_t least, int64_t most, int frames) {
  const double width = size.width, height = size.height;
  if (std::max(width, height) / std::min(width, height) > 200)
    throw Error(ErrorKind::invalid, fmt::format("the image is too narrow: {} x {}; one side may be 200 times the other",
                                                size.width, size.height));
  int64_t w = int64_t{round_even(width / factor)} * factor, h = int64_t{round_even(height / factor)} * factor;
  const auto floored = [&](double side) {
    return std::max<int64_t>(factor, static_cast<int64_t>(std::floor(side / factor)) * factor);
  };
  const auto ceiled = [&](double side) { return static_cast<int64_t>(std::ceil(side / factor)) * factor; };
  if (frames * w * h > most) {
    const double beta = std::sqrt(frames * height * width / static_cast<double>(most));
    h = floored(height / beta);
    w = floored(width / beta);
  } else if (frames * w * h < least) {
    const double beta = std::sqrt(static_cast<double>(least) / (frames * height * width));
    h = ceiled(height * beta);
    w = ceiled(width * beta);
  }
  return {static_cast<int>(std::max<int64_t>(w, 1)), static_cast<int>(std::max<int64_t>(h, 1))};
}

namespace {

TileGrid nearest_of(Size image, Size tile, std::span<const TileGrid> grids) {
  const double shape = static_cast<double>(image.width) / image.height;
  const double area = static_cast<double>(image.width) * image.height;
  TileGrid best;
  double best_difference = std::numeric_limits<double>::infinity();
  for (const TileGrid grid : grids) {
    const double difference = std::abs(shape - static_cast<double>(grid.cols) / grid.rows);
    const bool filled = area > 0.5 * tile.height * tile.width * grid.cols * grid.rows;
    if (difference < best_difference || (difference == best_difference && filled)) best = grid;
    best_difference = std::min(best_difference, difference);
  }
  return best;
}

std::vector<TileGrid> grids_of(int least, int most) {
  std::vector<TileGrid> grids;
  for (int cols = 1; cols <= most; ++cols)
    for (int rows = 1; cols * rows <= most; ++rows)
      if (cols * rows >= least) grids.push_back({cols, rows});
  std::stable_sort(grids.begin(), grids.end(), [](auto a, auto b) { return a.count() < b.count(); });
  return grids;
}

}  // namespace

TileGrid nearest_grid(Size image, Size tile, int least, int most) {
  return nearest_of(image, tile, grids_of(least, most));
}

template <typename Real>
TileGrid canvas_of(Size image, std::span<const TileGrid> grids, int tile) {
  const auto scale_of = [&](TileGrid grid) {
    return std::min(static_cast<Real>(grid.cols * tile) / static_cast<Real>(image.width),
                    static_cast<Real>(grid.rows * tile) / static_cast<Real>(image.height));
  };
  TileGrid best = grids.front();
  Real best_scale = scale_of(best);
  for (const TileGrid grid : grids.subspan(1)) {
    const Real scale = scale_of(grid);
    const bool fits = scale >= 1, best_fits = best_scale >= 1;
    const bool better = fits == best_fits ? (fits ? scale < best_scale : scale > best_scale) : fits;
    if (!better && !(scale == best_scale && grid.count() < best.count())) continue;
    best = grid;
    best_scale = scale;
  }
  return best;
}

template TileGrid canvas_of<double>(Size, std::span<const TileGrid>, int);
template TileGrid canvas_of<float>(Size, std::span<const TileGrid>, int);

Size cut_inside(Size image, Size room) {
  const double x = static_cast<double>(room.width) / image.width, y = static_cast<double>(room.height) / image.height;
  if (x < y) return {room.width, std::clamp(static_cast<int>(std::floor(image.height * x)), 1, room.height)};
  return {std::clamp(static_cast<int>(std::floor(image.width * y)), 1, room.width), room.height};
}

Size best_resolution(Size image, std::span<const Size> resolutions) {
  Size best = resolutions.front();
  int64_t most = 0, least_rest = std::numeric_limits<int64_t>::max();
  const int64_t own = int64_t{image.width} * image.height;
  for (const Size room : resolutions) {
    const double scale =
        std::min(static_cast<double>(room.width) / image.width, static_cast<double>(room.height) / image.height);
    const int64_t kept =
        std::min(static_cast<int64_t>(image.width * scale) * static_cast<int64_t>(image.height * scale), own);
    const int64_t rest = int64_t{room.width} * room.height - kept;
    if (kept < most || (kept == most && rest >= least_rest)) continue;
    best = room;
    most = kept;
    least_rest = rest;
  }
  return best;
}

Size fit_inside(Size image, Size room) {
  const double x = static_cast<double>(room.width) / image.width, y = static_cast<double>(room.height) / image.height;
  if (x < y) return {room.width, std::min(static_cast<int>(std::ceil(image.height * x)), room.height)};
  return {std::min(static_cast<int>(std::ceil(image.width * y)), room.width), room.height};
}

}  // namespace mlxk
