#pragma once

#include <span>

#include "vision/settings.h"

namespace mlxk {

/// Rounds ties to even, as in Python.
int round_even(double value);

/// The size whose shorter side is `shortest`, with the other truncated to whole pixels.
Size shortest_to(Size size, int shortest);

/// Qwen's size: both sides multiples of `factor` and in all from `least` to `most` pixels, with nearly the same shape.
/// Throws invalid for an image more than 200 times as long as wide. The bounds are for `frames` times the pixels.
Size smart_resize(Size size, int factor, int64_t least, int64_t most, int frames = 1);

/// Columns and rows of tiles.
struct TileGrid {
  int cols = 1, rows = 1;
  int count() const { return cols * rows; }
};

/// InternVL's grid: from `least` to `most` tiles, with the shape nearest to the image's; of equally near ones the
/// larger one if the image fills more than half of it.
TileGrid nearest_grid(Size image, Size tile, int least, int most);
/// The canvas of tiles that shows the image largest: the smallest enlargement that fits, else the smallest reduction;
/// of equally large ones the smallest canvas, then the first. `Real` is the type in which the family computes scales.
template <typename Real>
TileGrid canvas_of(Size image, std::span<const TileGrid> grids, int tile);
/// The largest size with the image's shape inside `room`: the limiting side is exact, the other truncated to whole
/// pixels.
Size cut_inside(Size image, Size room);

/// LLaVA-NeXT's resolution: the one that keeps the most pixels of the image, of those the one with the least waste.
Size best_resolution(Size image, std::span<const Size> resolutions);
/// The largest size with the image's shape inside `room`: the limiting side is exact, the other rounded up.
Size fit_inside(Size image, Size room);

}  // namespace mlxk
