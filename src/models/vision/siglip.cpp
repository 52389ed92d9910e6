#include "models/vision/siglip.h"

#include <fmt/format.h>

#include "mlx/ops.h"
#include "models/vision/parts.h"
#include "models/vision/position_table.h"

namespace mlxk {
Siglip::Siglip(const VisionConfig& c, const WeightPath& path, int layers, bool last_norm)
    : c_(c),
      patches_(patch_conv(path / "embeddings" / "patch_embedding", c.channels, c.hidden_size, c.patch_size, true)),
      positions_(take_table(path / "embeddings" / "position_embedding", c.grid() * c.grid(), c.hidden_size)),
      blocks_(c, {}, path / "encoder" / "layers", layers) {
  if (last_norm) norm_ = LayerNorm(path / "post_layernorm", c.hidden_size, c.eps);
}

mx::array Siglip::embed(const mx::array& pixels, bool buckets) const {
  const int rows = pixels.shape(1) / c_.patch_size, columns = pixels.shape(2) / c_.patch_size;
  const int most = buckets ? 1 << 12 : c_.grid();
  if (rows < 1 || columns < 1 || rows > most || columns > most || (!buckets && (rows != most || columns != most))) {
    throw unfit_media(fmt::format("an image of {} × {} patches does not fit this tower", rows, columns));
  }
  mx::array positions = positions_;
  if (buckets) {
    const std::vector<int> at = bucket_positions(rows, columns, c_.grid(), true);
    positions = mx::take(positions_, mx::array(at.data(), {rows * columns}, mx::int32), 0);
  }
  const mx::array x = mx::reshape(patches_(pixels), {1, rows * columns, c_.hidden_size});
  return mx::add(x, mx::astype(positions, x.dtype()));
}

mx::array Siglip::operator()(const mx::array& embedded, std::vector<mx::array>& stages) const {
  const mx::array x = blocks_(embedded, {}, stages);
  return norm_ ? (*norm_)(x) : x;
}

std::vector<mx::array> Siglip::states(const mx::array& embedded, std::vector<mx::array>& stages) const {
  return blocks_.states(embedded, {}, stages);
}

}  // namespace mlxk
