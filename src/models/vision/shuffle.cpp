#include "models/vision/shuffle.h"

#include <fmt/format.h>

#include "mlx/ops.h"
#include "models/vision/parts.h"

namespace mlxk {

namespace {

/// [height / scale, scale, width / scale, scale, dims]
mx::array blocks_of(const mx::array& x, int height, int width, int scale) {
  if (height % scale != 0 || width % scale != 0) {
    throw unfit_media(fmt::format("{} × {} patches do not make blocks of {}", height, width, scale));
  }
  return mx::reshape(x, {height / scale, scale, width / scale, scale, x.shape(2)});
}

}  // namespace

mx::array pixel_shuffle(const mx::array& x, int height, int width, int scale) {
  const mx::array blocks = mx::transpose(blocks_of(x, height, width, scale), {0, 2, 1, 3, 4});
  return mx::reshape(blocks, {1, height * width / (scale * scale), -1});
}

mx::array unfold(const mx::array& x, int height, int width, int scale) {
  const mx::array blocks = mx::transpose(blocks_of(x, height, width, scale), {0, 2, 4, 1, 3});
  return mx::reshape(blocks, {1, height * width / (scale * scale), -1});
}

mx::array average_pool(const mx::array& x, int height, int width, int scale) {
  const mx::array means = mx::mean(blocks_of(x, height, width, scale), std::vector<int>{1, 3});
  return mx::reshape(means, {1, height * width / (scale * scale), x.shape(2)});
}

mx::array sheet_of(const std::vector<mx::array>& tiles, int rows, int columns, int side) {
  const int dims = tiles.front().shape(2);
  const mx::array all = mx::reshape(mx::concatenate(tiles, 0), {rows, columns, side, side, dims});
  return mx::reshape(mx::transpose(all, {0, 2, 1, 3, 4}), {rows * side, columns * side, dims});
}

mx::array with_row_ends(const mx::array& sheet, const mx::array& end) {
  const int rows = sheet.shape(0), dims = sheet.shape(2);
  const mx::array ends = mx::broadcast_to(mx::reshape(mx::astype(end, sheet.dtype()), {1, 1, dims}), {rows, 1, dims});
  return mx::reshape(mx::concatenate({sheet, ends}, 1), {-1, dims});
}

}  // namespace mlxk
