// Idefics 2 (https://arxiv.org/abs/2405.02246): a SigLIP tower over images of any size, a gated projection, and latents
// that attend to its output (Perceiver, https://arxiv.org/abs/2103.03206). Pixels are [images, H, W, 3], with smaller
// images padded at the right and bottom; grid {height, width} in pixels of each.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/vision/chosen_states.h"
#include "models/vision/parts.h"

namespace mlxk {
namespace {

constexpr VisionDefaults kIdefics2{768, 3072, 12, 12, 224, 32};

struct PerceiverConfig {
  static PerceiverConfig read(const Config& config, int hidden);

  int hidden, latents, depth, heads, kv_heads, head_dim;
  float eps;
  Activation activation;
};

PerceiverConfig PerceiverConfig::read(const Config& config, int hidden) {
  const Config own = config.has("perceiver_config") ? config.object("perceiver_config")
                                                    : Config(Json::object(), config.place() + " perceiver_config");
  const auto integer = [&](const char* key, int fallback, int high) {
    return static_cast<int>(own.integer_or(key, fallback, 1, high));
  };
  PerceiverConfig c;
  c.hidden = integer("hidden_size", hidden, 1 << 16);
  c.latents = integer("resampler_n_latents", 64, 1 << 12);
  c.depth = integer("resampler_depth", 3, 256);
  c.heads = integer("resampler_n_heads", 16, 1024);
  c.kv_heads = integer("num_key_value_heads", 4, 1024);
  c.head_dim = integer("resampler_head_dim", 96, 4096);
  c.eps = static_cast<float>(own.number_or("rms_norm_eps", 1e-6, 0, 1));
  c.activation = read_activation(own.text_or("hidden_act", "silu"));
  if (c.hidden != hidden) {
    throw own.bad("hidden_size", fmt::format("must be the language model's {}, got {}", hidden, c.hidden));
  }
  if (c.heads % c.kv_heads != 0) {
    throw own.bad("num_key_value_heads", fmt::format("must divide {} heads, got {}", c.heads, c.kv_heads));
  }
  return c;
}

class PerceiverLayer {
 public:
  PerceiverLayer(const PerceiverConfig& c, const WeightPath& path)
      : c_(c),
        latents_norm_(path / "input_latents_norm", c.hidden, c.eps),
        context_norm_(path / "input_context_norm", c.hidden, c.eps),
        q_(path / "self_attn" / "q_proj", c.hidden, c.heads * c.head_dim),
        k_(path / "self_attn" / "k_proj", c.hidden, c.kv_heads * c.head_dim),
        v_(path / "self_attn" / "v_proj", c.hidden, c.kv_heads * c.head_dim),
        out_{Linear(path / "self_attn" / "o_proj", c.heads * c.head_dim, c.hidden)},
        mlp_{RmsNorm(path / "post_attention_layernorm", c.hidden, c.eps),
             Linear(path / "mlp" / "gate_proj", c.hidden, 4 * c.hidden),
             Linear(path / "mlp" / "up_proj", c.hidden, 4 * c.hidden),
             Linear(path / "mlp" / "down_proj", 4 * c.hidden, c.hidden),
             std::nullopt,
             c.activation} {}

  mx::array operator()(const mx::array& latents, const mx::array& context) const {
    const mx::array own = latents_norm_(latents);
    const mx::array seen = mx::concatenate({context_norm_(context), own}, 1);
    const float scale = 1 / std::sqrt(static_cast<float>(c_.head_dim));
    const mx::array attended =
        attend_to_all(q_(own), for_each_head(k_(seen)), for_each_head(v_(seen)), c_.heads, scale);
    return mlp_(out_(attended, latents));
  }

 private:
  /// The heads of keys or values, each repeated for the query heads that share it.
  mx::array for_each_head(const mx::array& x) const {
    const mx::array heads = mx::unflatten(x, -1, {c_.kv_heads, c_.head_dim});
    return mx::flatten(mx::repeat(heads, c_.heads / c_.kv_heads, 2), 2, 3);
  }

  PerceiverConfig c_;
  RmsNorm latents_norm_, context_norm_;
  Linear q_, k_, v_;
  OutResidual out_;
  GatedMlpResidual mlp_;
};

class Idefics2Encoder : public MediaEncoder {
 public:
  Idefics2Encoder(const Config& config, const VisionConfig& c, const PerceiverConfig& p, int wide, Weights& weights,
                  const WeightPath& connector)
      : type_(weights.activation_type()),
        c_(c),
        tower_(c, find_path(weights, {"vision_model", "model.vision_model"}, "embeddings.patch_embedding"),
               c.num_hidden_layers),
        projection_{std::nullopt,
                    Linear(connector / "modality_projection" / "gate_proj", c.hidden_size, wide),
                    Linear(connector / "modality_projection" / "up_proj", c.hidden_size, wide),
                    Linear(connector / "modality_projection" / "down_proj", wide, p.hidden),
                    std::nullopt,
                    read_activation(text(config).text_or("hidden_act", "silu"))},
        latents_((connector / "perceiver_resampler").take("latents", {p.latents, p.hidden})),
        norm_(connector / "perceiver_resampler" / "norm", p.hidden, p.eps) {
    for (int i = 0; i < p.depth; ++i) layers_.emplace_back(p, connector / "perceiver_resampler" / "layers" / i);
  }

  static Config text(const Config& config) { return config.has("text_config") ? config.object("text_config") : config; }

  EncodedMedia encode(const MediaData& data) const override {
    std::vector<mx::array> features, stages;
    size_t i = 0;
    for (const mx::array& padded : images_of(data, c_.channels, type_)) {
      const int height = grid_number(data, i++), width = grid_number(data, i++);
      if (height > padded.shape(1) || width > padded.shape(2)) {
        throw unfit_media(fmt::format("an image of {} × {} is not within {} × {} pixels", height, width,
                                      padded.shape(1), padded.shape(2)));
      }
      const mx::array image = mx::slice(padded, {0, 0, 0, 0}, {1, height, width, c_.channels});
      const mx::array context = by_rows(tower_(tower_.embed(image, true), stages), 3 * flops_of(projection_.down),
                                        stages, [&](const mx::array& rows) { return projection_.inner(rows); });
      stages.push_back(context);
      mx::array latents = mx::expand_dims(mx::astype(latents_, context.dtype()), 0);
      for (const auto& layer : layers_) {
        latents = layer(latents, context);
        stages.push_back(latents);
      }
      features.push_back(without_batch(norm_(latents)));
    }
    return {below_each_other(features), {}, std::move(stages)};
  }

 private:
  mx::Dtype type_;
  VisionConfig c_;
  Siglip tower_;
  GatedMlpResidual projection_;
  mx::array latents_;
  std::vector<PerceiverLayer> layers_;
  RmsNorm norm_;
};

}  // namespace

std::unique_ptr<MediaEncoder> make_idefics2_vision(const Config& config, Weights& weights) {
  const int hidden = text_hidden_size(config, 4096);
  const int wide = static_cast<int>(Idefics2Encoder::text(config).integer_or("intermediate_size", 14336, 1, 1 << 20));
  return std::make_unique<Idefics2Encoder>(config, VisionConfig::read(vision_config(config), kIdefics2),
                                           PerceiverConfig::read(config, hidden), wide, weights,
                                           find_path(weights, {"connector", "model.connector"}, "perceiver_resampler"));
}

}  // namespace mlxk
