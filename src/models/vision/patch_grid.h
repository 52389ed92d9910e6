#pragma once

#include <vector>

#include "models/media_encoder.h"
#include "models/vision/rope_2d.h"
#include "models/vision/vision_config.h"
#include "nn/linear.h"

namespace mlxk {

/// Images in the form of Qwen's towers and GLM-4V's: rows of patches [h * w, channels * side * side], a row in that
/// order, in blocks of merge × merge patches (merged_places); grid {1, h, w} in patches.

struct PatchGrid {
  int rows, columns;
};

/// The grid of `data`; throws invalid unless it has one frame and whole blocks of `merge`.
PatchGrid patch_grid(const MediaData& data, int merge);

/// The matrix that turns a row (channels, side, side) into a vector. `weight` at `path` may be a convolution's, in
/// PyTorch's order [out, channels, (frames,) side, side] or MLX's [out, (frames,) side, side, channels]: the frames of
/// an image are equal, so their weights are added up.
Linear patch_matrix(const WeightPath& path, const VisionConfig& c, bool bias);

/// Positions for M-RoPE: text advances by one on all three axes; an image's merged patches keep the first axis and
/// count rows and columns from there; the text after it continues after the largest. Throws invalid if an image has
/// another number of placeholders.
MediaPositions mrope_positions(std::span<const int32_t> prompt, std::span<const MediaItem> items, int merge);

}  // namespace mlxk
