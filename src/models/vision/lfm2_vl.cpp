// LFM2-VL (https://arxiv.org/abs/2511.23404): SigLIP 2's tower over tiles of any size, blocks of patches concatenated,
// two matrices. Patches are rows [patches, side * side * channels] of all tiles, each tile's row by row; grid {h, w} of
// each.
#include <fmt/format.h>

#include "mlx/ops.h"
#include "models/registry.h"
#include "models/vision/chosen_states.h"
#include "models/vision/parts.h"
#include "models/vision/position_table.h"
#include "models/vision/shuffle.h"

namespace mlxk {
namespace {

constexpr VisionDefaults kSiglip2{768, 3072, 12, 12, 1 << 13, 16};  // it has no fixed size

class Lfm2VlEncoder : public MediaEncoder {
 public:
  Lfm2VlEncoder(const Config& config, const VisionConfig& c, int entries, int scale, Weights& weights,
                const WeightPath& path)
      : type_(weights.activation_type()),
        c_(c),
        scale_(scale),
        patches_(path / "embeddings" / "patch_embedding", c.channels * c.patch_size * c.patch_size, c.hidden_size,
                 true),
        table_(take_table(path / "embeddings" / "position_embedding", entries, c.hidden_size)),
        blocks_(c, {}, path / "encoder" / "layers", c.num_hidden_layers),
        last_norm_(path / "post_layernorm", c.hidden_size, c.eps),
        projector_(find_projector(weights, "linear_1"), c.hidden_size * scale * scale,
                   static_cast<int>(config.integer_or("projector_hidden_size", 2560, 1, 1 << 20)),
                   text_hidden_size(config), projector_activation(config), config.flag_or("projector_bias", true)) {
    if (config.flag_or("projector_use_layernorm", true)) {
      norm_.emplace(find_projector(weights, "layer_norm") / "layer_norm", c.hidden_size * scale * scale, 1e-5F);
    }
  }

  EncodedMedia encode(const MediaData& data) const override {
    const mx::array all = rows_of(data, patches_.in(), type_);
    std::vector<mx::array> features, stages;
    int begin = 0;
    for (size_t i = 0; i < data.grid.size(); i += 2) {
      const int rows = grid_number(data, i), columns = grid_number(data, i + 1), end = begin + rows * columns;
      if (end > all.shape(0)) throw unfit_media("the grid has more patches than there are");
      mx::array x = patches_(mx::expand_dims(mx::slice(all, {begin, 0}, {end, all.shape(1)}), 0));
      const mx::array positions = resized_table(table_, rows, columns, Resampling::bilinear_antialias);
      x = last_norm_(blocks_(mx::add(x, mx::astype(positions, x.dtype())), {}, stages));
      x = pixel_shuffle(x, rows, columns, scale_);
      features.push_back(without_batch(projector_(norm_ ? (*norm_)(x) : x, stages)));
      stages.push_back(features.back());
      begin = end;
    }
    if (begin != all.shape(0) || features.empty()) throw unfit_media("the grid has fewer patches than there are");
    return {below_each_other(features), {}, std::move(stages)};
  }

 private:
  mx::Dtype type_;
  VisionConfig c_;
  int scale_;
  Linear patches_;
  mx::array table_;
  Vit blocks_;
  LayerNorm last_norm_;
  Projector projector_;
  std::optional<LayerNorm> norm_;
};

}  // namespace

std::unique_ptr<MediaEncoder> make_lfm2_vl_vision(const Config& config, Weights& weights) {
  const Config vision = vision_config(config);
  const VisionConfig c = VisionConfig::read(vision, kSiglip2);
  const int entries = static_cast<int>(vision.integer_or("num_patches", 256, 1, 1 << 20));
  int side = 1;
  while (side * side < entries) ++side;
  if (side * side != entries) throw vision.bad("num_patches", fmt::format("must be a square, got {}", entries));
  const int scale = static_cast<int>(config.integer_or("downsample_factor", 2, 1, 64));
  const WeightPath path = find_path(
      weights, {"vision_tower.vision_model", "vision_tower", "model.vision_tower.vision_model", "model.vision_tower"},
      "embeddings.patch_embedding");
  return std::make_unique<Lfm2VlEncoder>(config, c, entries, scale, weights, path);
}

}  // namespace mlxk
