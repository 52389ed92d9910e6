// Muse Glimmer's text model, as transformers and mlx-lm compute it: norms before and after each sublayer with factors 1
// + weight, the latter with their own eps, a norm of the embedding and of queries and keys without weights, a gate on
// attention's output, layers without rope, logits scaled and capped.
#include <fmt/format.h>

#include "json/json.h"
#include "models/registry.h"
#include "models/text/block.h"
#include "models/text/language_model.h"

namespace mlxk {
namespace {

constexpr BlockOptions kMuseGlimmer{
    .defaults = {.norm_eps = 1e-5, .tie_word_embeddings = false, .sliding_window = 2048, .sliding_window_pattern = 4},
    .names = {.norm = nullptr,  // its kind differs from the layers'
              .mlp_norm = "pre_feedforward_layernorm",
              .attention_gate = "gate_proj"},
    .norm = NormKind::rms_plus_one,
    .qk_norm = QkNorm::before_rope,
    .qk_norm_kind = NormKind::rms_plain,
    .theta = 5e5};

class MuseLayer : public DecoderLayer {
 public:
  MuseLayer(const BlockConfig& c, int layer, float post_eps, const WeightPath& path)
      : attention_(make_block_attention(c, layer, path)),
        mlp_{make_norm(c.options.norm, path / c.options.names.mlp_norm, c.hidden_size, c.norm_eps),
             Linear(path / "mlp.gate_proj", c.hidden_size, c.intermediate_size),
             Linear(path / "mlp.up_proj", c.hidden_size, c.intermediate_size),
             Linear(path / "mlp.down_proj", c.intermediate_size, c.hidden_size),
             make_norm(c.options.norm, path / "post_feedforward_layernorm", c.hidden_size, post_eps),
             c.activation},
        window_(c.windows[static_cast<size_t>(layer)]) {
    attention_.out.norm = make_norm(c.options.norm, path / "post_attention_layernorm", c.hidden_size, post_eps);
  }

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    return mlp_(attention_(x, caches.attention(), in));
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override { return attention_cache(rows, window_); }

 private:
  SelfAttention attention_;
  GatedMlpResidual mlp_;
  int window_;
};

/// `layer_rope_theta` has a base for each layer, 0 for one without rope; if absent, full layers have no rope.
void read_ropes(const Config& config, BlockConfig& c) {
  const Json* bases = config.find("layer_rope_theta");
  if (bases && (!bases->is_array() || bases->size() != c.ropes.size())) {
    throw config.bad("layer_rope_theta", fmt::format("must have {} entries", c.ropes.size()));
  }
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    auto& rope = c.ropes[static_cast<size_t>(layer)];
    if (!bases) {
      if (!c.slides(layer)) rope.reset();
      continue;
    }
    const Json& base = (*bases)[static_cast<size_t>(layer)];
    if (!base.is_number() || base.get<double>() < 0 || base.get<double>() > 1e12) {
      throw config.bad("layer_rope_theta", fmt::format("must hold numbers from 0 to 1e12, got {}", base.dump()));
    }
    if (base == 0) {
      rope.reset();
    } else {
      rope->theta = base.get<double>();
    }
  }
}

}  // namespace

std::unique_ptr<Model> make_muse_glimmer(const Config& given, Weights& weights) {
  const Config config = keep_language_model(given, weights);
  BlockConfig c = read_block(config, kMuseGlimmer);
  c.attention_scale *= static_cast<float>(config.number_or("qk_scale_factor", 3.87, 1e-6, 1e6));
  c.logit_multiplier = static_cast<float>(config.number_or("output_multiplier", 0.19611613513818404, 1e-9, 1e9));
  if (!config.has("final_logit_softcapping")) c.final_soft_cap = 20;
  const auto post_eps = static_cast<float>(config.number_or("post_norm_eps", 1e-8, 0, 1));
  read_ropes(config, c);
  sanitize_block(c, weights);
  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  parts.embedding_norm = RmsNorm(c.hidden_size, c.norm_eps);
  parts.norm = RmsNorm(root / "model.norm", c.hidden_size, c.norm_eps);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    parts.layers.push_back(std::make_unique<MuseLayer>(c, layer, post_eps, root / c.options.names.layers / layer));
  }
  return std::make_unique<Decoder>(shape_of(c), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
