// Llama 4's tower (transformers' llama4): a class vector after the patches, learned positions, queries and keys rotated
// by column and row, 2 × 2 patches concatenated, and three matrices. Pixels are [tiles, size, size, 3].
#include <fmt/format.h>

#include <cmath>

#include "mlx/ops.h"
#include "models/registry.h"
#include "models/vision/chosen_states.h"
#include "models/vision/parts.h"
#include "models/vision/patch_grid.h"
#include "models/vision/shuffle.h"

namespace mlxk {
namespace {

constexpr VisionDefaults kLlama4{768, 5632, 34, 16, 448, 14, "gelu", 1e-5};
constexpr VitOptions kLlama4Blocks{
    .names = {.norm1 = "input_layernorm", .norm2 = "post_attention_layernorm", .out = "o_proj"}};

struct Llama4VisionConfig : VisionConfig {
  int scale, wide, out;  // out: of the tower
};

Llama4VisionConfig read_llama4_vision(const Config& config) {
  const Config vision = vision_config(config);
  Llama4VisionConfig c{VisionConfig::read(vision, kLlama4)};
  c.activation = Activation::gelu;
  c.eps = 1e-5F;
  const double ratio = vision.number_or("pixel_shuffle_ratio", 0.5, 1.0 / 64, 1);
  c.scale = static_cast<int>(std::lround(1 / ratio));
  if (c.grid() % c.scale != 0 || std::abs(c.scale * ratio - 1) > 1e-6) {
    throw vision.bad("pixel_shuffle_ratio",
                     fmt::format("must be 1 / n for a divisor n of {} patches, got {}", c.grid(), ratio));
  }
  if (c.head_dim % 4 != 0) {
    throw vision.bad("num_attention_heads", fmt::format("must give heads of a multiple of 4, got {}", c.head_dim));
  }
  c.wide = static_cast<int>(vision.integer_or("projector_input_dim", 4096, 1, 1 << 20));
  c.out = static_cast<int>(vision.integer_or("projector_output_dim", 4096, 1, 1 << 20));
  return c;
}

/// The first half of the pairs is rotated by column + 1, the second by row + 1; the class vector, after them, is not
/// rotated.
std::vector<float> angles(const Llama4VisionConfig& c, double theta) {
  const int half = c.head_dim / 2;
  std::vector<float> steps, all;
  for (int i = 0; i < half; i += 2) steps.push_back(static_cast<float>(1 / std::pow(theta, double(i) / half)));
  for (const auto& place : grid_places(c.grid(), c.grid())) {
    for (const float step : steps) all.push_back(static_cast<float>(place.column + 1) * step);
    for (const float step : steps) all.push_back(static_cast<float>(place.row + 1) * step);
  }
  all.resize(all.size() + static_cast<size_t>(half), 0.0F);
  return all;
}

class Llama4Encoder : public MediaEncoder {
 public:
  Llama4Encoder(const Config& config, const Llama4VisionConfig& c, Weights& weights, const WeightPath& path)
      : type_(weights.activation_type()),
        c_(c),
        patches_(patch_matrix(path / "patch_embedding" / "linear", c, false)),
        class_(path.take("class_embedding", {c.hidden_size})),
        positions_(path.take("positional_embedding_vlm", {c.grid() * c.grid() + 1, c.hidden_size})),
        first_norm_(path / "layernorm_pre", c.hidden_size, c.eps),
        rotation_(angles(c, rope_theta(vision_config(config), 1e4)), c.grid() * c.grid() + 1, Pairing::neighbours),
        blocks_(c, kLlama4Blocks, path / "model" / "layers", c.num_hidden_layers),
        last_norm_(path / "layernorm_post", c.hidden_size, c.eps),
        adapter_(path / "vision_adapter" / "mlp", c.hidden_size * c.scale * c.scale, c.wide, c.out, Activation::gelu,
                 false, "fc1", "fc2"),
        projection_(find_projector(weights, "linear_1") / "linear_1", c.out, text_hidden_size(config, 5120)) {}

  EncodedMedia encode(const MediaData& data) const override {
    std::vector<mx::array> features, stages;
    const int grid = c_.grid(), side = c_.patch_size;
    for (const mx::array& tile : images_of(data, c_.channels, type_)) {
      if (tile.shape(1) != grid * side || tile.shape(2) != grid * side) {
        throw unfit_media(
            fmt::format("a tile must have {0} × {0} pixels, got {1} × {2}", grid * side, tile.shape(1), tile.shape(2)));
      }
      const mx::array cut = mx::transpose(mx::reshape(tile, {grid, side, grid, side, c_.channels}), {0, 2, 4, 1, 3});
      const mx::array patches = patches_(mx::reshape(cut, {1, grid * grid, -1}));
      const mx::array last = mx::astype(mx::reshape(class_, {1, 1, c_.hidden_size}), patches.dtype());
      mx::array x = mx::add(mx::concatenate({patches, last}, 1), mx::astype(positions_, patches.dtype()));
      x = last_norm_(blocks_(first_norm_(x), {rotation_}, stages));
      x = pixel_shuffle(mx::slice(x, {0, 0, 0}, {1, grid * grid, c_.hidden_size}), grid, grid, c_.scale);
      const double flops = flops_of(adapter_.up) + flops_of(adapter_.down) + flops_of(projection_);
      features.push_back(without_batch(by_rows(x, flops, stages, [&](const mx::array& rows) {
        return projection_(activate(Activation::gelu, adapter_(rows)));
      })));
      stages.push_back(features.back());
    }
    return {below_each_other(features), {}, std::move(stages)};
  }

 private:
  mx::Dtype type_;
  Llama4VisionConfig c_;
  Linear patches_;
  mx::array class_, positions_;
  LayerNorm first_norm_;
  PatchRotation rotation_;
  Vit blocks_;
  LayerNorm last_norm_;
  Projector adapter_;
  Linear projection_;
};

}  // namespace

std::unique_ptr<MediaEncoder> make_llama4_vision(const Config& config, Weights& weights) {
  const WeightPath path = find_path(weights, {"vision_model", "model.vision_model"}, "patch_embedding.linear");
  return std::make_unique<Llama4Encoder>(config, read_llama4_vision(config), weights, path);
}

}  // namespace mlxk
