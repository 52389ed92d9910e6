#include "models/vision/sam.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "mlx/ops.h"
#include "models/vision/parts.h"
#include "models/vision/position_table.h"
#include "nn/encoder_attention.h"

namespace mlxk {
namespace {

constexpr float kSamEps = 1e-6F;

/// Applies `make` to slices along `axis` of x, so that no piece of the work is long. Returns the concatenated results.
/// `flops`: the work per index.
mx::array in_pieces(const mx::array& x, int axis, double flops, const std::function<mx::array(const mx::array&)>& make,
                    std::vector<mx::array>& stages) {
  const int count = x.shape(axis), piece = std::max(1, static_cast<int>(kFlopsOfAPiece / flops));
  std::vector<mx::array> parts;
  for (int begin = 0; begin < count; begin += piece) {
    mx::Shape from(x.ndim(), 0), to = x.shape();
    from[static_cast<size_t>(axis)] = begin;
    to[static_cast<size_t>(axis)] = std::min(count, begin + piece);
    parts.push_back(make(mx::slice(x, from, to)));
    stages.push_back(parts.back());
  }
  return parts.size() == 1 ? parts.front() : mx::concatenate(parts, axis);
}

/// The entry of `table` [2 * side - 1, dims] for each pair of positions along a side of `size`: [size, dims, size],
/// queries first. A table of another side is interpolated as by torch's linear interpolation.
mx::array distances(const mx::array& table, int size) {
  const int count = 2 * size - 1, had = table.shape(0);
  mx::array own = table;
  if (had != count) {
    const std::vector<float> factors = resize_factors(had, count, Resampling::bilinear);
    own = mx::matmul(mx::array(factors.data(), {count, had}, mx::float32), mx::astype(table, mx::float32));
  }
  std::vector<int> at;
  for (int q = 0; q < size; ++q) {
    for (int k = 0; k < size; ++k) at.push_back(q - k + size - 1);
  }
  return mx::transpose(mx::take(own, mx::array(at.data(), {size, size}, mx::int32), 0), {0, 2, 1});
}

/// The row and column of each key of a grid as one-hot vectors: [height * width, height + width].
mx::array places(int height, int width, mx::Dtype type) {
  const mx::array rows = mx::repeat(mx::eye(height, type), width, 0),
                  columns = mx::tile(mx::eye(width, type), {height, 1});
  return mx::concatenate({rows, columns}, 1);
}

int side_of(const WeightPath& path, const char* name, int axis) {
  const auto found = path.weights().tensors().find((path / name).path());
  return found == path.weights().tensors().end() || found->second.ndim() <= static_cast<size_t>(axis)
             ? 1
             : found->second.shape(axis);
}

}  // namespace

Sam::Sam(const SamConfig& c, const WeightPath& path)
    : heads_(c.heads),
      width_(outputs_of(path / "patch_embed" / "proj")),
      patch_(side_of(path, "patch_embed.proj.weight", 2)),
      patches_(patch_conv(path / "patch_embed" / "proj", 3, width_, patch_, true)),
      positions_(mx::array(0)) {
  if (width_ % heads_ != 0) {
    path.weights().note(
        fmt::format("the width of {} must be a multiple of {} heads, got {}", path.path(), heads_, width_));
    heads_ = 1;
  }
  const int side = side_of(path, "pos_embed", 1);
  positions_ = mx::reshape(path.take("pos_embed", {1, side, side, width_}), {side * side, width_});
  for (int i = 0; i < c.layers; ++i) {
    const bool global = std::count(c.global_layers.begin(), c.global_layers.end(), i) > 0;
    blocks_.push_back(make_block(path / "blocks" / i, global));
  }
  const WeightPath neck = path / "neck";
  const int narrow = outputs_of(neck / 0), half = outputs_of(path / "net_2");
  out_ = outputs_of(path / "net_3");
  narrow_.emplace(neck / 0, width_, narrow, 1, ConvLayerOptions{.bias = false});
  narrow_norm_.emplace(neck / 1, narrow, kSamEps);
  smooth_.emplace(neck / 2, narrow, narrow, 3, ConvLayerOptions{.bias = false});
  smooth_norm_.emplace(neck / 3, narrow, kSamEps);
  half_.emplace(path / "net_2", narrow, half, 3, ConvLayerOptions{.stride = 2, .bias = false});
  quarter_.emplace(path / "net_3", half, out_, 3, ConvLayerOptions{.stride = 2, .bias = false});
}

Sam::Block Sam::make_block(const WeightPath& path, bool global) const {
  const WeightPath attention = path / "attn";
  const int dims = width_ / heads_, distances = side_of(attention, "rel_pos_h", 0);
  const int wide = outputs_of(path / "mlp" / "lin1");
  return {global ? 0 : (distances + 1) / 2,
          LayerNorm(path / "norm1", width_, kSamEps),
          Linear(attention / "qkv", width_, 3 * width_, true).split({width_, width_, width_}),
          Linear(attention / "proj", width_, width_, true),
          attention.take("rel_pos_h", {distances, dims}),
          attention.take("rel_pos_w", {distances, dims}),
          {LayerNorm(path / "norm2", width_, kSamEps), Linear(path / "mlp" / "lin1", width_, wide, true),
           Linear(path / "mlp" / "lin2", wide, width_, true), Activation::gelu}};
}

mx::array Sam::attend(const Block& block, const mx::array& h, int height, int width,
                      std::vector<mx::array>& stages) const {
  // softmax(scale · q kᵀ + q·R[row distance] + q·C[column distance]) as one product: each query is extended by its q·R
  // and q·C for all rows and columns, each key by its row and column as one-hot vectors.
  const int count = h.shape(0), length = height * width, dims = width_ / heads_, wide = dims + height + width;
  const mx::array by_row = distances(block.rows, height), by_column = distances(block.columns, width);
  const auto queries = [&](const mx::array& x) {
    const mx::array q = mx::reshape(block.qkv[0](x), {count, height, width, heads_, dims});
    const mx::array of_rows = mx::transpose(q, {1, 0, 2, 3, 4}), of_columns = mx::transpose(q, {2, 0, 1, 3, 4});
    const mx::array down = mx::matmul(mx::reshape(of_rows, {height, -1, dims}), mx::astype(by_row, q.dtype()));
    const mx::array across = mx::matmul(mx::reshape(of_columns, {width, -1, dims}), mx::astype(by_column, q.dtype()));
    const mx::array factor(1 / std::sqrt(static_cast<float>(dims)), q.dtype());
    return mx::reshape(
        mx::concatenate({mx::multiply(q, factor),
                         mx::transpose(mx::reshape(down, {height, count, width, heads_, height}), {1, 0, 2, 3, 4}),
                         mx::transpose(mx::reshape(across, {width, count, height, heads_, width}), {1, 2, 0, 3, 4})},
                        4),
        {count, length, heads_ * wide});
  };
  const auto widened = [&](const mx::array& x, const mx::array& more) {  // appends `more` [L, …] for each head
    const mx::array own = mx::reshape(x, {count, length, heads_, dims});
    const mx::array all =
        mx::broadcast_to(mx::reshape(more, {1, length, 1, height + width}), {count, length, heads_, height + width});
    return mx::reshape(mx::concatenate({own, all}, 3), {count, length, heads_ * wide});
  };
  stages.push_back(queries(h));
  const mx::array q = stages.back();
  const mx::array place = places(height, width, h.dtype());
  stages.push_back(widened(block.qkv[1](h), place));
  const mx::array k = stages.back();
  stages.push_back(widened(block.qkv[2](h), mx::zeros_like(place)));
  const mx::array v = stages.back();
  const auto narrowed = [&](const mx::array& x) {
    const mx::array heads = mx::reshape(x, {x.shape(0), x.shape(1), heads_, wide});
    const mx::array own = mx::slice(heads, {0, 0, 0, 0}, {x.shape(0), x.shape(1), heads_, dims});
    return block.out(mx::reshape(own, {x.shape(0), x.shape(1), width_}));
  };
  const double flops = 4.0 * length * heads_ * wide;  // per query
  if (count == 1) {
    return in_pieces(
        q, 1, flops, [&](const mx::array& rows) { return narrowed(attend_to_all(rows, k, v, heads_, 1)); }, stages);
  }
  std::vector<mx::array> parts;
  const int together = std::max(1, static_cast<int>(kFlopsOfAPiece / (flops * length)));
  for (int begin = 0; begin < count; begin += together) {
    const int end = std::min(count, begin + together);
    const auto own = [&](const mx::array& x) { return mx::slice(x, {begin, 0, 0}, {end, length, x.shape(2)}); };
    parts.push_back(narrowed(attend_to_all(own(q), own(k), own(v), heads_, 1)));
    stages.push_back(parts.back());
  }
  return parts.size() == 1 ? parts.front() : mx::concatenate(parts, 0);
}

mx::array Sam::run(const Block& block, const mx::array& x, std::vector<mx::array>& stages) const {
  const int height = x.shape(1), width = x.shape(2), side = block.window;
  mx::array h = block.norm(x);
  if (side == 0) {
    h = attend(block, mx::reshape(h, {1, height * width, width_}), height, width, stages);
    h = mx::reshape(h, x.shape());
  } else {  // positions outside the image are zeros and attended to as well
    const int down = (height + side - 1) / side, across = (width + side - 1) / side;
    h = mx::pad(h, {{0, 0}, {0, down * side - height}, {0, across * side - width}, {0, 0}});
    h = mx::transpose(mx::reshape(h, {down, side, across, side, width_}), {0, 2, 1, 3, 4});
    h = attend(block, mx::reshape(h, {down * across, side * side, width_}), side, side, stages);
    h = mx::transpose(mx::reshape(h, {down, across, side, side, width_}), {0, 2, 1, 3, 4});
    h = mx::slice(mx::reshape(h, {1, down * side, across * side, width_}), {0, 0, 0, 0}, x.shape());
  }
  const mx::array mid = mx::add(x, h);
  return in_pieces(
      mid, 1, 4.0 * width * width_ * block.mlp.up.out(), [&](const mx::array& rows) { return block.mlp(rows); },
      stages);
}

mx::array Sam::operator()(const mx::array& pixels, std::vector<mx::array>& stages) const {
  mx::array x = patches_(pixels);
  const int rows = x.shape(1), columns = x.shape(2);
  const mx::array table = resized_table(positions_, rows, columns, Resampling::bicubic_antialias);
  x = mx::add(x, mx::astype(mx::reshape(table, {1, rows, columns, width_}), x.dtype()));
  for (const Block& block : blocks_) x = run(block, x, stages);
  x = (*narrow_norm_)((*narrow_)(x, stages));
  x = (*smooth_norm_)((*smooth_)(x, stages));
  return (*quarter_)((*half_)(x, stages), stages);
}

}  // namespace mlxk
