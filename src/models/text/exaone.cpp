// EXAONE 3 (https://arxiv.org/abs/2408.03541): a llama block with other tensor names. EXAONE 4
// (https://arxiv.org/abs/2507.11407): norms only after the sublayers. K-EXAONE (https://arxiv.org/abs/2601.01739),
// transformers' exaone_moe: norms before them, and mixtures with DeepSeek-V3's router. If the last two have a window,
// only the sliding layers have rope.
#include "json/json.h"
#include "models/registry.h"
#include "models/text/block.h"
#include "models/text/tensor_names.h"

namespace mlxk {
namespace {

constexpr BlockOptions kExaone{.defaults = {.norm_eps = 1e-5},
                               .names = {.embedding = "transformer.wte",
                                         .layers = "transformer.h",
                                         .norm = "transformer.ln_f",
                                         .attention_norm = "ln_1",
                                         .mlp_norm = "ln_2",
                                         .attention = "attn.attention",
                                         .o = "out_proj",
                                         .gate = "c_fc_0",
                                         .up = "c_fc_1",
                                         .down = "c_proj"},
                               .qkv_bias_key = "attention_bias",
                               .out_bias_key = "attention_bias",
                               .mlp_bias_key = "mlp_bias"};
constexpr BlockOptions kExaone4{.names = {.attention_norm = nullptr,
                                          .attention_post_norm = "post_attention_layernorm",
                                          .mlp_norm = nullptr,
                                          .mlp_post_norm = "post_feedforward_layernorm"},
                                .qk_norm = QkNorm::before_rope,
                                .theta = 1e6};

constexpr BlockOptions kExaoneMoe{.defaults = {.norm_eps = 1e-5, .tie_word_embeddings = false},
                                  .qk_norm = QkNorm::before_rope,
                                  .mixture = true,
                                  .experts = kDeepseekV3Mixture};

/// `sliding_window_pattern` may be letters, L for a layer with a window and G for one without: converted to
/// layer_types.
Config with_layer_types(const Config& config) {
  Json json = config.json();
  const Json* pattern = config.find("sliding_window_pattern");
  if (!pattern) return Config(std::move(json), config.place());
  const int layers = static_cast<int>(config.integer("num_hidden_layers", 1, 1024));
  std::string letters;
  if (pattern->is_string()) {
    letters = pattern->get<std::string>();
  } else {
    letters = std::string(static_cast<size_t>(config.integer("sliding_window_pattern", 1, 1024)) - 1, 'L') + "G";
  }
  if (letters.empty() || letters.find_first_not_of("LG") != std::string::npos) {
    throw config.bad("sliding_window_pattern", "must be a number or letters L and G, got " + pattern->dump());
  }
  if (!config.has("layer_types") && config.has("sliding_window")) {
    for (int layer = 0; layer < layers; ++layer) {
      const bool local = letters[static_cast<size_t>(layer) % letters.size()] == 'L';
      json["layer_types"].push_back(local ? "sliding_attention" : "full_attention");
    }
  }
  json.erase("sliding_window_pattern");
  return Config(std::move(json), config.place());
}

}  // namespace

std::unique_ptr<Model> make_exaone(const Config& config, Weights& weights) {
  return make_block_decoder(kExaone, config, weights);
}

std::unique_ptr<Model> make_exaone4(const Config& config, Weights& weights) {
  BlockConfig c = read_block(with_layer_types(config), kExaone4);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    if (config.has("sliding_window") && !c.slides(layer)) c.ropes[static_cast<size_t>(layer)].reset();
  }
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

std::unique_ptr<Model> make_exaone_moe(const Config& config, Weights& weights) {
  BlockConfig c = read_block(with_layer_types(config), kExaoneMoe);
  if (!config.has("routed_scaling_factor")) c.mixture->rule.scale = 2.5F;
  const bool some_slide = c.sliding_window > 0;
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    if (some_slide && !c.slides(layer)) c.ropes[static_cast<size_t>(layer)].reset();
  }
  weights.drop([](const std::string& name) { return name.starts_with("mtp."); });
  rename_tensors(weights, {{".mlp.e_score_correction_bias", ".mlp.gate.e_score_correction_bias"}});
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

}  // namespace mlxk
