#include "models/vision/clip.h"

#include <fmt/format.h>

#include "mlx/ops.h"
#include "models/vision/parts.h"

namespace mlxk {

Clip::Clip(const VisionConfig& c, const WeightPath& path, int layers)
    : c_(c),
      class_((path / "embeddings").take("class_embedding", {c.hidden_size})),
      patches_(patch_conv(path / "embeddings" / "patch_embedding", c.channels, c.hidden_size, c.patch_size, false)),
      positions_(take_table(path / "embeddings" / "position_embedding", c.grid() * c.grid() + 1, c.hidden_size)),
      norm_(path / "pre_layrnorm", c.hidden_size, c.eps),
      blocks_(c, {}, path / "encoder" / "layers", layers) {}

std::vector<mx::array> Clip::states(const mx::array& pixels, std::vector<mx::array>& stages) const {
  if (pixels.shape(1) / c_.patch_size != c_.grid() || pixels.shape(2) / c_.patch_size != c_.grid()) {
    throw unfit_media(fmt::format("an image must have {0} × {0} pixels, got {1} × {2}", c_.image_size, pixels.shape(1),
                                  pixels.shape(2)));
  }
  const mx::array patches = mx::reshape(patches_(pixels), {1, c_.grid() * c_.grid(), c_.hidden_size});
  const mx::array first = mx::astype(mx::reshape(class_, {1, 1, c_.hidden_size}), patches.dtype());
  const mx::array x = mx::add(mx::concatenate({first, patches}, 1), mx::astype(positions_, patches.dtype()));
  return blocks_.states(norm_(x), {}, stages);
}

}  // namespace mlxk
