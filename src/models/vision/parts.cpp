#include "models/vision/parts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "mlx/ops.h"
#include "nn/linear.h"

namespace mlxk {

mx::array in_pieces(int count, double flops, int axis, std::vector<mx::array>& stages,
                    const std::function<mx::array(int begin, int end)>& f) {
  const int piece = static_cast<int>(std::clamp<double>(kFlopsOfAPiece / flops, 1, count));
  if (piece == count) return f(0, count);
  std::vector<mx::array> all;
  for (int begin = 0; begin < count; begin += piece) {
    all.push_back(f(begin, std::min(count, begin + piece)));
    stages.push_back(all.back());
  }
  return mx::concatenate(all, axis);
}

mx::array row_range(const mx::array& x, int begin, int end) {
  if (begin == 0 && end == x.shape(1)) return x;
  return mx::slice(x, {0, begin, 0}, {1, end, x.shape(2)});
}

WeightPath find_path(Weights& weights, std::initializer_list<const char*> prefixes, const std::string& probe) {
  const auto& tensors = weights.tensors();
  for (const char* prefix : prefixes) {
    const std::string name = (WeightPath(weights, prefix) / probe).path();
    const auto found = tensors.lower_bound(name);
    if (found == tensors.end() || !found->first.starts_with(name)) continue;
    if (found->first.size() == name.size() || found->first[name.size()] == '.') return WeightPath(weights, prefix);
  }
  return WeightPath(weights, *prefixes.begin());
}

void put_channels_last(const WeightPath& path, int in, int height, int width) {
  auto& tensors = path.weights().tensors();
  const auto found = tensors.find((path / "weight").path());
  if (found == tensors.end() || found->second.ndim() != 4) return;
  mx::array& weight = found->second;
  const int out = weight.shape(0);
  if (weight.shape() == mx::Shape{out, height, width, in}) return;
  if (weight.shape() != mx::Shape{out, in, height, width}) return;
  weight = mx::contiguous(mx::transpose(weight, {0, 2, 3, 1}));
}

Conv2d patch_conv(const WeightPath& path, int in, int out, int side, bool bias) {
  put_channels_last(path, in, side, side);
  return Conv2d(path, in, out, {side, side}, {.stride = {side, side}}, bias);
}

mx::array take_table(const WeightPath& path, int rows, int columns) {
  const Embedding table(path, rows, columns);
  return path.weights().keep(table(mx::arange(rows, mx::int32)));
}

Error unfit_media(const std::string& what) { return Error(ErrorKind::invalid, "[image] " + what); }

std::vector<mx::array> images_of(const MediaData& data, int channels, mx::Dtype type) {
  const auto& s = data.shape;
  const bool fits = s.size() == 4 && s[0] > 0 && s[1] > 0 && s[2] > 0 && s[3] == channels;
  const size_t one = fits ? size_t(s[1]) * size_t(s[2]) * size_t(s[3]) : 0;
  if (!fits || data.values.size() != one * size_t(s[0])) {
    throw unfit_media(fmt::format("pixels must be [images, height, width, {}], got [{}] with {} values", channels,
                                  fmt::join(s, ", "), data.values.size()));
  }
  std::vector<mx::array> images;
  for (size_t i = 0; i < size_t(s[0]); ++i) {
    images.push_back(mx::astype(mx::array(data.values.data() + i * one, {1, s[1], s[2], s[3]}, mx::float32), type));
  }
  return images;
}

mx::array rows_of(const MediaData& data, int columns, mx::Dtype type) {
  const auto& s = data.shape;
  const bool fits = s.size() == 2 && s[0] > 0 && s[1] == columns;
  if (!fits || data.values.size() != size_t(s[0]) * size_t(columns)) {
    throw unfit_media(fmt::format("patches must be [patches, {}], got [{}] with {} values", columns, fmt::join(s, ", "),
                                  data.values.size()));
  }
  return mx::astype(mx::array(data.values.data(), {s[0], columns}, mx::float32), type);
}

int grid_number(const MediaData& data, size_t i, int high) {
  if (i >= data.grid.size()) throw unfit_media(fmt::format("the grid must have {} numbers or more", i + 1));
  if (data.grid[i] < 1 || data.grid[i] > high) {
    throw unfit_media(fmt::format("number {} of the grid must be in [1, {}], got {}", i, high, data.grid[i]));
  }
  return data.grid[i];
}

mx::array without_batch(const mx::array& x) { return mx::squeeze(x, 0); }

mx::array below_each_other(const std::vector<mx::array>& all) {
  return all.size() == 1 ? all.front() : mx::concatenate(all, 0);
}

}  // namespace mlxk
