#pragma once

#include <vector>

#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// Position tables made for one grid, applied to images with another.

/// Entries of a table side × side for a grid rows × columns, chosen by where in the image the patches begin (NaViT,
/// https://arxiv.org/abs/2307.06304): [rows * columns], row by row. `steps`: patch i begins at i times the rounded 1 /
/// rows, as in transformers' Idefics, else at i / rows.
std::vector<int> bucket_positions(int rows, int columns, int side, bool steps);

/// How a table of one size is resampled for another.
enum class Resampling {
  bilinear_corners,    // linear, corners aligned
  bilinear,            // linear, at the centres of the patches
  bicubic,             // a = -0.75, at the centres of the patches
  bilinear_antialias,  // a triangle as wide as the patches are in the table
  bicubic_antialias,   // the same with a = -0.5
};

/// `table` [side², dims] float resampled for a grid rows × columns: [rows * columns, dims] float32, row by row.
mx::array resized_table(const mx::array& table, int rows, int columns, Resampling how);

/// The weights that resize one axis: [out, in], row by row.
std::vector<float> resize_factors(int in, int out, Resampling how);

}  // namespace mlxk
