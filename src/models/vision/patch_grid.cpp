#include "models/vision/patch_grid.h"

#include <fmt/format.h>

#include <algorithm>

#include "mlx/ops.h"
#include "models/vision/parts.h"

namespace mlxk {

PatchGrid patch_grid(const MediaData& data, int merge) {
  grid_number(data, 0, 1);
  const PatchGrid grid{grid_number(data, 1), grid_number(data, 2)};
  if (grid.rows % merge != 0 || grid.columns % merge != 0) {
    throw unfit_media(fmt::format("{} × {} patches do not make blocks of {}", grid.rows, grid.columns, merge));
  }
  if (data.shape.empty() || data.shape[0] != grid.rows * grid.columns) {
    throw unfit_media(fmt::format("a grid of {} × {} needs as many patches", grid.rows, grid.columns));
  }
  return grid;
}

Linear patch_matrix(const WeightPath& path, const VisionConfig& c, bool bias) {
  const int side = c.patch_size, columns = c.channels * side * side;
  auto& tensors = path.weights().tensors();
  const auto found = tensors.find((path / "weight").path());
  if (found != tensors.end() && (found->second.ndim() == 4 || found->second.ndim() == 5)) {
    mx::array weight = found->second;
    const bool torch = weight.shape(1) == c.channels && weight.shape(-1) == side;
    if (weight.ndim() == 5) weight = mx::sum(mx::astype(weight, mx::float32), torch ? 2 : 1);
    if (!torch) weight = mx::transpose(weight, {0, 3, 1, 2});
    if (weight.shape() == mx::Shape{c.hidden_size, c.channels, side, side}) {
      found->second = mx::contiguous(mx::reshape(weight, {c.hidden_size, columns}));
    }
  }
  return Linear(path, columns, c.hidden_size, bias);
}

MediaPositions mrope_positions(std::span<const int32_t> prompt, std::span<const MediaItem> items, int merge) {
  std::vector<const MediaItem*> sorted;
  for (const MediaItem& item : items) sorted.push_back(&item);
  std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->begin < b->begin; });
  const size_t count = prompt.size();
  MediaPositions found;
  found.axes.resize(3 * count);
  int32_t next = 0;
  size_t at = 0;
  const auto put = [&](int32_t time, int32_t row, int32_t column) {
    found.axes[at] = time;
    found.axes[count + at] = row;
    found.axes[2 * count + at] = column;
    ++at;
  };
  const auto text_until = [&](size_t end) {
    for (; at < end; ++next) put(next, next, next);
  };
  for (const MediaItem* item : sorted) {
    const PatchGrid grid = patch_grid(*item->data, merge);
    const int rows = grid.rows / merge, columns = grid.columns / merge;
    if (item->begin < static_cast<int64_t>(at) || item->end > static_cast<int64_t>(count) ||
        item->end - item->begin != int64_t{rows} * columns) {
      throw unfit_media(fmt::format("an image of {} × {} tokens has {} placeholders at {}", rows, columns,
                                    item->end - item->begin, item->begin));
    }
    text_until(static_cast<size_t>(item->begin));
    for (int row = 0; row < rows; ++row) {
      for (int column = 0; column < columns; ++column) put(next, next + row, next + column);
    }
    next += std::max(rows, columns);
  }
  text_until(count);
  found.shift = next - static_cast<int>(count);
  return found;
}

}  // namespace mlxk
