// Phi-3-vision (https://arxiv.org/abs/2404.14219): CLIP over a grid of tiles and the whole image, 2 × 2 patches
// concatenated, a learned vector at the end of each row of the sheet, two matrices. Pixels are [1 + h * w, 336, 336,
// 3], the whole image first; grid {h, w} in tiles.
#include <fmt/format.h>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/vision/chosen_states.h"
#include "models/vision/parts.h"
#include "models/vision/shuffle.h"

namespace mlxk {
namespace {

constexpr int kPhi3Merge = 2;
constexpr VisionDefaults kClipLarge336{1024, 4096, 24, 16, 336, 14, "quick_gelu", 1e-5};

/// The sizes are in img_processor, if anywhere.
VisionConfig read_phi3_vision(const Config& config) {
  const bool said = config.has("img_processor") && config.json()["img_processor"].is_object();
  const Config place =
      said ? config.object("img_processor") : Config(Json::object(), config.place() + " img_processor");
  const VisionConfig c = VisionConfig::read(place, kClipLarge336);
  if (c.grid() % kPhi3Merge == 0) return c;
  throw place.bad("image_size", fmt::format("must make an even number of patches, got {}", c.image_size));
}

class Phi3VEncoder : public MediaEncoder {
 public:
  Phi3VEncoder(const Config& config, const VisionConfig& c, Weights& weights, const WeightPath& path)
      : type_(weights.activation_type()),
        c_(c),
        tower_(c, path / "img_processor" / "vision_model", c.num_hidden_layers - 1),
        row_end_(path.take("sub_GN", {1, 1, 1, kPhi3Merge * kPhi3Merge * c.hidden_size})),
        between_(path.take("glb_GN", {1, 1, kPhi3Merge * kPhi3Merge * c.hidden_size})),
        projector_(path / "img_projection", kPhi3Merge * kPhi3Merge * c.hidden_size, text_hidden_size(config),
                   text_hidden_size(config), Activation::gelu, true, "0", "2") {}

  EncodedMedia encode(const MediaData& data) const override {
    const int rows = grid_number(data, 0), columns = grid_number(data, 1), side = c_.grid() / kPhi3Merge;
    if (data.shape.empty() || data.shape[0] != 1 + rows * columns) {
      throw unfit_media(fmt::format("{} × {} tiles and the whole image are needed", rows, columns));
    }
    std::vector<mx::array> tiles, stages;
    for (const mx::array& tile : images_of(data, c_.channels, type_)) {
      const mx::array x = tower_.states(tile, stages).back();
      const mx::array patches = mx::slice(x, {0, 1, 0}, x.shape());
      tiles.push_back(projector_(pixel_shuffle(patches, c_.grid(), c_.grid(), kPhi3Merge), stages));
      stages.push_back(tiles.back());
    }
    const auto projected = [&](const mx::array& vector) {
      return mx::flatten(projector_(mx::astype(mx::reshape(vector, {1, 1, -1}), type_)));
    };
    const mx::array end = projected(row_end_);
    const mx::array sheet = sheet_of({tiles.begin() + 1, tiles.end()}, rows, columns, side);
    const mx::array whole = sheet_of({tiles.front()}, 1, 1, side);
    return {below_each_other(
                {with_row_ends(sheet, end), mx::expand_dims(projected(between_), 0), with_row_ends(whole, end)}),
            {},
            std::move(stages)};
  }

 private:
  mx::Dtype type_;
  VisionConfig c_;
  Clip tower_;
  mx::array row_end_, between_;
  Projector projector_;
};

}  // namespace

std::unique_ptr<MediaEncoder> make_phi3_v_vision(const Config& config, Weights& weights) {
  const WeightPath path = find_path(weights, {"model.vision_embed_tokens", "vision_embed_tokens"}, "glb_GN");
  return std::make_unique<Phi3VEncoder>(config, read_phi3_vision(config), weights, path);
}

}  // namespace mlxk
