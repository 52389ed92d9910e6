// InternVL (https://arxiv.org/abs/2312.14238) in transformers' layout and in its own (internvl_chat): a tower with a
// class vector and layer scales over each tile, 2 × 2 patches concatenated, a norm and two matrices. Pixels are [tiles,
// size, size, 3].
#include <fmt/format.h>

#include <cmath>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/vision/chosen_states.h"
#include "models/vision/parts.h"
#include "models/vision/position_table.h"
#include "models/vision/shuffle.h"

namespace mlxk {
namespace {

constexpr VisionDefaults kInternVit{1024, 4096, 24, 16, 448, 14, "gelu"};

struct InternVlConfig : VisionConfig {
  bool own_layout;  // names of OpenGVLab's files
  NormKind norm;
  bool qk_norm, qkv_bias;
  int scale;  // patches of a side that are concatenated to a token
};

InternVlConfig read(const Config& config, bool own_layout) {
  const Config vision = vision_config(config);
  InternVlConfig c{VisionConfig::read(vision, kInternVit)};
  c.own_layout = own_layout;
  const std::string norm = vision.text_or("norm_type", "layer_norm");
  if (norm != "layer_norm" && norm != "rms_norm") {
    throw vision.bad("norm_type", fmt::format("must be layer_norm or rms_norm, got {}", norm));
  }
  c.norm = norm == "rms_norm" ? NormKind::rms : NormKind::layer;
  c.qk_norm = vision.flag_or(own_layout ? "qk_normalization" : "use_qk_norm", false);
  c.qkv_bias = vision.flag_or(own_layout ? "qkv_bias" : "attention_bias", own_layout);
  const double ratio = config.number_or("downsample_ratio", 0.5, 1.0 / 64, 1);
  c.scale = static_cast<int>(std::lround(1 / ratio));
  if (c.grid() % c.scale != 0 || std::abs(c.scale * ratio - 1) > 1e-6) {
    throw config.bad("downsample_ratio",
                     fmt::format("must be 1 / n for a divisor n of {} patches, got {}", c.grid(), ratio));
  }
  if (const Json* layer = config.find(own_layout ? "select_layer" : "vision_feature_layer"); layer && *layer != -1) {
    throw config.bad(own_layout ? "select_layer" : "vision_feature_layer", "must be -1, got " + layer->dump());
  }
  return c;
}

VitOptions blocks_of(const InternVlConfig& c) {
  VitOptions o;
  o.norm = c.norm;
  o.qkv_bias = c.qkv_bias;
  o.qk_norm_whole = true;
  VitNames& n = o.names;
  if (c.qk_norm) n.q_norm = "q_norm", n.k_norm = "k_norm";
  if (c.own_layout) {
    n.norm1 = "norm1", n.norm2 = "norm2", n.attention = "attn", n.qkv = "qkv", n.out = "proj";
    n.scale1 = "ls1", n.scale2 = "ls2";
  } else {
    n.norm1 = "layernorm_before", n.norm2 = "layernorm_after", n.attention = "attention", n.out = "projection_layer";
    n.scale1 = "lambda_1", n.scale2 = "lambda_2";
  }
  return o;
}

/// The names of the parts in the tower and the projector.
struct Places {
  WeightPath tower, projector;
  const char *class_vector, *patches, *positions, *blocks, *norm, *first, *second;
};

Places places(Weights& weights, bool own_layout) {
  if (own_layout) {
    return {find_path(weights, {"vision_model", "vision_tower", "model.vision_model"}, "embeddings.patch_embedding"),
            find_path(weights, {"mlp1", "model.mlp1"}, "0"),
            "embeddings.class_embedding",
            "embeddings.patch_embedding",
            "embeddings.position_embedding",
            "encoder.layers",
            "0",
            "1",
            "3"};
  }
  return {find_path(weights, {"vision_tower", "model.vision_tower"}, "embeddings.patch_embeddings.projection"),
          find_projector(weights, "linear_1"),
          "embeddings.cls_token",
          "embeddings.patch_embeddings.projection",
          "embeddings.position_embeddings",
          "encoder.layer",
          "layer_norm",
          "linear_1",
          "linear_2"};
}

class InternVlEncoder : public MediaEncoder {
 public:
  InternVlEncoder(const Config& config, const InternVlConfig& c, const Places& at)
      : type_(at.tower.weights().activation_type()),
        c_(c),
        class_(at.tower.take(at.class_vector, {1, 1, c.hidden_size})),
        patches_(patch_conv(at.tower / at.patches, c.channels, c.hidden_size, c.patch_size, true)),
        positions_(at.tower.take(at.positions, {1, c.grid() * c.grid() + 1, c.hidden_size})),
        blocks_(c, blocks_of(c), at.tower / at.blocks, c.num_hidden_layers),
        norm_(at.projector / at.norm, c.hidden_size * c.scale * c.scale, 1e-5F),
        projector_(at.projector, c.hidden_size * c.scale * c.scale, text_hidden_size(config), text_hidden_size(config),
                   projector_activation(config), true, at.first, at.second) {}

  EncodedMedia encode(const MediaData& data) const override {
    std::vector<mx::array> features, stages;
    for (const mx::array& tile : images_of(data, c_.channels, type_)) {
      const int rows = tile.shape(1) / c_.patch_size, columns = tile.shape(2) / c_.patch_size;
      if (rows < 1 || columns < 1) throw unfit_media("an image must have a patch or more");
      const mx::array patches = mx::reshape(patches_(tile), {1, rows * columns, c_.hidden_size});
      mx::array x = mx::concatenate({mx::astype(class_, patches.dtype()), patches}, 1);
      x = blocks_(mx::add(x, mx::astype(positions(rows, columns), x.dtype())), {}, stages);
      x = pixel_shuffle(mx::slice(x, {0, 1, 0}, x.shape()), rows, columns, c_.scale);
      features.push_back(without_batch(projector_(norm_(x), stages)));
      stages.push_back(features.back());
    }
    return {below_each_other(features), {}, std::move(stages)};
  }

 private:
  mx::array positions(int rows, int columns) const {
    if (rows == c_.grid() && columns == c_.grid()) return positions_;
    const mx::array table = mx::slice(positions_, {0, 1, 0}, positions_.shape());
    const mx::array resized = resized_table(mx::squeeze(table, 0), rows, columns, Resampling::bicubic);
    const mx::array first = mx::astype(mx::slice(positions_, {0, 0, 0}, {1, 1, c_.hidden_size}), mx::float32);
    return mx::concatenate({first, mx::expand_dims(resized, 0)}, 1);
  }

  mx::Dtype type_;
  InternVlConfig c_;
  mx::array class_;
  Conv2d patches_;
  mx::array positions_;
  Vit blocks_;
  LayerNorm norm_;
  Projector projector_;
};

}  // namespace

std::unique_ptr<MediaEncoder> make_internvl_vision(const Config& config, Weights& weights) {
  return std::make_unique<InternVlEncoder>(config, read(config, false), places(weights, false));
}

std::unique_ptr<MediaEncoder> make_internvl_chat_vision(const Config& config, Weights& weights) {
  return std::make_unique<InternVlEncoder>(config, read(config, true), places(weights, true));
}

}  // namespace mlxk
