// GLM-4.1V (https://arxiv.org/abs/2507.01006): a tower like Qwen2-VL's with a table of positions and root mean square
// norms, 2 × 2 patches merged by a convolution, and a gated projector. Patches as described in patch_grid.h.
#include <fmt/format.h>

#include "mlx/ops.h"
#include "models/registry.h"
#include "models/vision/parts.h"
#include "models/vision/patch_grid.h"
#include "models/vision/position_table.h"
#include "models/vision/vit.h"

namespace mlxk {
namespace {

constexpr VisionDefaults kGlm4v{1536, 13696, 24, 12, 336, 14, "silu"};

struct Glm4vConfig : VisionConfig {
  int merge, out, wide;  // wide: of the projector
  bool qkv_bias;
};

Glm4vConfig read_glm4v(const Config& config) {
  const Config vision = with_keys(
      vision_config(config),
      {{"depth", "num_hidden_layers"}, {"num_heads", "num_attention_heads"}, {"in_channels", "num_channels"}});
  Glm4vConfig c{VisionConfig::read(vision, kGlm4v)};
  c.eps = static_cast<float>(vision.number_or("rms_norm_eps", 1e-5, 0, 1));
  c.merge = static_cast<int>(vision.integer_or("spatial_merge_size", 2, 1, 16));
  c.out = static_cast<int>(vision.integer_or("out_hidden_size", 4096, 1, 1 << 16));
  c.wide = c.intermediate_size;
  c.qkv_bias = vision.flag_or("attention_bias", false);
  if (c.head_dim % 4 != 0) {
    throw vision.bad("num_heads", fmt::format("must give heads of a multiple of 4, got {}", c.head_dim));
  }
  c.intermediate_size = c.out;  // of the blocks
  return c;
}

VitOptions blocks_of(const Glm4vConfig& c) {
  return {
      .names =
          {.norm1 = "norm1", .norm2 = "norm2", .attention = "attn", .out = "proj", .qkv = "qkv", .gate = "gate_proj"},
      .norm = NormKind::rms,
      .qkv_bias = c.qkv_bias,
      .out_bias = false,
      .mlp_bias = false};
}

class Glm4vEncoder : public MediaEncoder {
 public:
  Glm4vEncoder(const Config& config, const Glm4vConfig& c, const WeightPath& path)
      : type_(path.weights().activation_type()),
        c_(c),
        theta_(rope_theta(vision_config(config), 1e4)),
        patches_(patch_matrix(path / "patch_embed" / "proj", c, true)),
        first_norm_(path / "post_conv_layernorm", c.hidden_size, c.eps),
        table_(take_table(path / "embeddings" / "position_embedding", c.grid() * c.grid(), c.hidden_size)),
        blocks_(c, blocks_of(c), path / "blocks", c.num_hidden_layers),
        last_norm_(path / "post_layernorm", c.hidden_size, c.eps),
        downsample_(merge_conv(path / "downsample", c)),
        projection_(path / "merger" / "proj", c.out, c.out),
        projection_norm_(path / "merger" / "post_projection_norm", c.out, 1e-5F),
        gated_{std::nullopt,
               Linear(path / "merger" / "gate_proj", c.out, c.wide),
               Linear(path / "merger" / "up_proj", c.out, c.wide),
               Linear(path / "merger" / "down_proj", c.wide, c.out),
               std::nullopt,
               c.activation} {}

  EncodedMedia encode(const MediaData& data) const override {
    const PatchGrid grid = patch_grid(data, c_.merge);
    const int count = grid.rows * grid.columns;
    const auto places = merged_places(grid.rows, grid.columns, c_.merge);
    std::vector<int> from;
    for (const auto& place : places) from.push_back(place.row * grid.columns + place.column);
    const mx::array sampled = resized_table(table_, grid.rows, grid.columns, Resampling::bicubic);
    const mx::array table = mx::take(sampled, mx::array(from.data(), {count}, mx::int32), 0);

    EncodedMedia encoded{table};
    mx::array x = first_norm_(patches_(mx::expand_dims(rows_of(data, patches_.in(), type_), 0)));
    x = mx::add(x, mx::astype(table, x.dtype()));
    const PatchOrder order{PatchRotation(split_angles(places, c_.head_dim, theta_), count, Pairing::halves)};
    x = last_norm_(blocks_(x, order, encoded.stages));
    const int cell = c_.merge * c_.merge, wide = cell * c_.hidden_size;
    const double flops = 2.0 * wide * c_.out + flops_of(projection_) + 3 * flops_of(gated_.down);
    encoded.features = without_batch(
        by_rows(mx::reshape(x, {1, count / cell, wide}), flops, encoded.stages, [&](const mx::array& cells) {
          const mx::array merged = downsample_(mx::reshape(cells, {-1, c_.merge, c_.merge, c_.hidden_size}));
          const mx::array h = projection_norm_(projection_(mx::reshape(merged, {1, -1, c_.out})));
          return gated_.inner(activate(Activation::gelu, h));
        }));
    encoded.stages.push_back(encoded.features);
    return encoded;
  }

  std::optional<MediaPositions> positions(std::span<const int32_t> prompt,
                                          std::span<const MediaItem> items) const override {
    return mrope_positions(prompt, items, c_.merge);
  }

 private:
  static Conv2d merge_conv(const WeightPath& path, const Glm4vConfig& c) {
    put_channels_last(path, c.hidden_size, c.merge, c.merge);
    return Conv2d(path, c.hidden_size, c.out, {c.merge, c.merge}, {.stride = {c.merge, c.merge}}, true);
  }

  mx::Dtype type_;
  Glm4vConfig c_;
  double theta_;
  Linear patches_;
  RmsNorm first_norm_;
  mx::array table_;
  Vit blocks_;
  RmsNorm last_norm_;
  Conv2d downsample_;
  Linear projection_;
  LayerNorm projection_norm_;
  GatedMlpResidual gated_;
};

}  // namespace

std::unique_ptr<MediaEncoder> make_glm4v_vision(const Config& config, Weights& weights) {
  const WeightPath path = find_path(weights, {"visual", "model.visual", "vision_tower"}, "patch_embed.proj");
  return std::make_unique<Glm4vEncoder>(config, read_glm4v(config), path);
}

}  // namespace mlxk
