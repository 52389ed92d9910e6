#pragma once

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "models/media_encoder.h"
#include "nn/conv.h"
#include "nn/linear.h"
#include "nn/weights.h"

namespace mlxk {

/// The common first and last steps of image encoders.

/// The work of an encoder between two checks for other requests: about twenty milliseconds.
constexpr double kFlopsOfAPiece = 4e9;

/// The number of rows in a piece of the work if one of them costs `flops`. With few rows the weights are read too
/// often, so pieces of long rows are up to 2.5 times as long.
constexpr double rows_of_a_piece(double flops) {
  constexpr double kFewRows = 128;
  return std::max(kFlopsOfAPiece / flops, std::min(kFewRows, 2.5 * kFlopsOfAPiece / flops));
}

/// f(begin, end) of [0, count), joined on `axis`, in pieces of about kFlopsOfAPiece if one of `count` costs `flops`.
/// Appends each piece to `stages` if there are several.
mx::array in_pieces(int count, double flops, int axis, std::vector<mx::array>& stages,
                    const std::function<mx::array(int begin, int end)>& f);

/// Rows [begin, end) of `x` [1, L, width].
mx::array row_range(const mx::array& x, int begin, int end);

/// The same of f(rows) for the rows of `x` [1, L, width], if a row costs `flops`; f returns as many rows.
template <class F>
mx::array by_rows(const mx::array& x, double flops, std::vector<mx::array>& stages, const F& f) {
  return in_pieces(x.shape(1), kFlopsOfAPiece / rows_of_a_piece(flops), 1, stages,
                   [&](int begin, int end) { return f(row_range(x, begin, end)); });
}

/// The work of a matrix for one row.
inline double flops_of(const Linear& matrix) { return 2.0 * matrix.in() * matrix.out(); }

/// The first of `prefixes` below which there is a tensor `probe` (a dot and more may follow), else the first: its
/// tensors are then reported as missing. Tools that write checkpoints use different prefixes.
WeightPath find_path(Weights& weights, std::initializer_list<const char*> prefixes, const std::string& probe);

/// Brings `weight` at `path`, of a convolution with `in` channels, into the order [out, height, width, in]; PyTorch's
/// is [out, in, height, width]. A weight that is in that order already, or matches neither, is unchanged.
void put_channels_last(const WeightPath& path, int in, int height, int width);

/// The convolution that cuts an image into patches of `side` and makes a vector of each.
Conv2d patch_conv(const WeightPath& path, int in, int out, int side, bool bias);

/// `weight` at `path`, plain or packed, as an array [rows, columns]: a table of positions.
mx::array take_table(const WeightPath& path, int rows, int columns);

/// The images of `data`, whose shape is [images, height, width, channels], each [1, height, width, channels].
std::vector<mx::array> images_of(const MediaData& data, int channels, mx::Dtype type);

/// `data.values` as rows [rows, columns]; throws invalid unless its shape is that, with that many columns.
mx::array rows_of(const MediaData& data, int columns, mx::Dtype type);

/// Entry `i` of data.grid, in [1, high]; throws invalid if it is absent or out of range.
int grid_number(const MediaData& data, size_t i, int high = 1 << 14);

/// The error for media that this encoder does not accept.
Error unfit_media(const std::string& what);

/// `x` [1, L, hidden] as [L, hidden].
mx::array without_batch(const mx::array& x);

/// The rows of `all`, each [L, hidden], stacked.
mx::array below_each_other(const std::vector<mx::array>& all);

}  // namespace mlxk
