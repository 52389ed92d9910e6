// Gemma 4's tower (transformers' gemma4): positions on two axes, queries and keys normed and rotated half by column and
// half by row, norms before and after each sublayer, means of 3 × 3 patches, one matrix. Patches are rows [h * w, side
// * side * channels] with values in [0, 1], row by row; grid {h, w}.
#include <fmt/format.h>

#include <cmath>

#include "mlx/ops.h"
#include "models/registry.h"
#include "models/vision/parts.h"
#include "models/vision/rope_2d.h"
#include "models/vision/shuffle.h"
#include "models/vision/vit.h"

namespace mlxk {
namespace {

constexpr VisionDefaults kGemma4{768, 3072, 16, 12, 1 << 13, 16};

struct Gemma4VisionConfig : VisionConfig {
  int pool, table;  // table: entries of each axis
  bool standardizes, clamps;
};

Gemma4VisionConfig read_gemma4_vision(const Config& config) {
  const Config vision = with_keys(vision_config(config), {{"hidden_activation", "hidden_act"}});
  Gemma4VisionConfig c{VisionConfig::read(vision, kGemma4)};
  c.eps = static_cast<float>(vision.number_or("rms_norm_eps", 1e-6, 0, 1));
  c.head_dim = static_cast<int>(vision.integer_or("head_dim", 64, 4, 1 << 12));
  if (c.head_dim % 4 != 0) throw vision.bad("head_dim", fmt::format("must be a multiple of 4, got {}", c.head_dim));
  if (vision.integer_or("num_key_value_heads", c.num_attention_heads, 1, 1024) != c.num_attention_heads) {
    throw vision.bad("num_key_value_heads", fmt::format("must be num_attention_heads, {}", c.num_attention_heads));
  }
  if (vision.flag_or("attention_bias", false)) throw vision.bad("attention_bias", "must be false, got true");
  c.pool = static_cast<int>(vision.integer_or("pooling_kernel_size", 3, 1, 64));
  c.table = static_cast<int>(vision.integer_or("position_embedding_size", 10240, 1, 1 << 20));
  c.standardizes = vision.flag_or("standardize", false);
  c.clamps = vision.flag_or("use_clipped_linears", false);
  return c;
}

VitOptions blocks_of(const Gemma4VisionConfig& c, bool nested) {
  return {.names = {.norm1 = "input_layernorm",
                    .norm2 = "pre_feedforward_layernorm",
                    .post_norm1 = "post_attention_layernorm",
                    .post_norm2 = "post_feedforward_layernorm",
                    .out = "o_proj",
                    .q_norm = "q_norm",
                    .k_norm = "k_norm",
                    .gate = "gate_proj"},
          .norm = NormKind::rms,
          .v_norm = true,
          .linear = nested ? "linear" : nullptr,
          .clamps = c.clamps,
          .qkv_bias = false,
          .out_bias = false,
          .mlp_bias = false,
          .attention_scale = 1};
}

/// The first half of the head is rotated by column, the second by row.
std::vector<float> angles(const std::vector<PatchPlace>& places, int head_dim, double theta) {
  std::vector<PatchPlace> turned;
  for (const auto& place : places) turned.push_back({place.column, place.row});
  return split_angles(turned, head_dim, theta);
}

class Gemma4Encoder : public MediaEncoder {
 public:
  Gemma4Encoder(const Config& config, const Gemma4VisionConfig& c, Weights& weights, const WeightPath& path,
                const WeightPath& projection)
      : type_(weights.activation_type()),
        c_(c),
        theta_(rope_theta(vision_config(config), 100)),
        patches_(path / "patch_embedder" / "input_proj", c.channels * c.patch_size * c.patch_size, c.hidden_size),
        table_((path / "patch_embedder").take("position_embedding_table", {2, c.table, c.hidden_size})),
        blocks_(c, blocks_of(c, path.has("encoder.layers.0.self_attn.q_proj.linear.weight")),
                path / "encoder" / "layers", c.num_hidden_layers),
        norm_(c.hidden_size, c.eps),
        projection_(projection, c.hidden_size, text_hidden_size(config)) {
    if (c.standardizes) {
      std_bias_ = path.take("std_bias", {c.hidden_size});
      std_scale_ = path.take("std_scale", {c.hidden_size});
    }
  }

  EncodedMedia encode(const MediaData& data) const override {
    const int rows = grid_number(data, 0, c_.table), columns = grid_number(data, 1, c_.table);
    const mx::array patches = rows_of(data, patches_.in(), type_);
    if (patches.shape(0) != rows * columns) {
      throw unfit_media(fmt::format("a grid of {} × {} needs as many patches", rows, columns));
    }
    const auto number = [&](float x) { return mx::array(x, type_); };
    std::vector<mx::array> stages;
    mx::array x = patches_(mx::expand_dims(mx::subtract(mx::multiply(patches, number(2)), number(1)), 0));
    x = mx::add(x, mx::astype(positions(rows, columns), x.dtype()));
    const PatchOrder order{
        PatchRotation(angles(grid_places(rows, columns), c_.head_dim, theta_), rows * columns, Pairing::quarters)};
    x = average_pool(blocks_(x, order, stages), rows, columns, c_.pool);
    x = mx::multiply(x, number(std::sqrt(static_cast<float>(c_.hidden_size))));
    if (c_.standardizes) {
      x = mx::multiply(mx::subtract(x, mx::astype(*std_bias_, x.dtype())), mx::astype(*std_scale_, x.dtype()));
    }
    const mx::array features = without_batch(projection_(norm_(x)));
    stages.push_back(features);
    return {features, {}, std::move(stages)};
  }

 private:
  /// For each patch the sum of its column's and its row's entry: [rows * columns, hidden].
  mx::array positions(int rows, int columns) const {
    const auto axis = [&](int i, int count) {
      return mx::squeeze(mx::slice(table_, {i, 0, 0}, {i + 1, count, c_.hidden_size}), 0);
    };
    const mx::array sum = mx::add(mx::expand_dims(axis(1, rows), 1), mx::expand_dims(axis(0, columns), 0));
    return mx::reshape(sum, {rows * columns, c_.hidden_size});
  }

  mx::Dtype type_;
  Gemma4VisionConfig c_;
  double theta_;
  Linear patches_;
  mx::array table_;
  Vit blocks_;
  RmsNorm norm_;
  Linear projection_;
  std::optional<mx::array> std_bias_, std_scale_;
};

}  // namespace

std::unique_ptr<MediaEncoder> make_gemma4_vision(const Config& config, Weights& weights) {
  const WeightPath path = find_path(weights, {"vision_tower", "model.vision_tower"}, "patch_embedder.input_proj");
  const WeightPath projection = find_path(weights, {"embed_vision", "model.embed_vision"}, "embedding_projection");
  return std::make_unique<Gemma4Encoder>(config, read_gemma4_vision(config), weights, path,
                                         projection / "embedding_projection");
}

}  // namespace mlxk
