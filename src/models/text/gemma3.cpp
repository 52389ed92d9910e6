// Gemma 3 (https://arxiv.org/abs/2503.19786): norms before and after each sublayer, factors 1 + weight, sliding layers
// with their own rope base between full ones. Tensors and keys as in transformers' gemma3.
#include <cmath>

#include "json/json.h"
#include "models/registry.h"
#include "models/text/block.h"
#include "models/text/language_model.h"

namespace mlxk {
namespace {

// Defaults of transformers' class: text_config of multimodal checkpoints leaves out values equal to them.
constexpr BlockOptions kGemma3{.defaults = {.hidden_size = 1152,
                                            .num_hidden_layers = 26,
                                            .num_attention_heads = 4,
                                            .num_key_value_heads = 1,
                                            .head_dim = 256,
                                            .vocab_size = 262144,
                                            .intermediate_size = 6912,
                                            .max_position_embeddings = 32768,
                                            .activation = "gelu_pytorch_tanh",
                                            .sliding_window = 512,
                                            .sliding_window_pattern = 6},
                               .names = {.attention_post_norm = "post_attention_layernorm",
                                         .mlp_norm = "pre_feedforward_layernorm",
                                         .mlp_post_norm = "post_feedforward_layernorm"},
                               .norm = NormKind::rms_plus_one,
                               .qk_norm = QkNorm::before_rope,
                               .qk_norm_kind = NormKind::rms_plus_one,
                               .theta = 1e6};

std::unique_ptr<Model> make(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kGemma3);
  c.attention_scale = static_cast<float>(1 / std::sqrt(config.number_or("query_pre_attn_scalar", 256, 1e-6, 1e9)));
  // Rounded as in the reference, except for embedders, which are kept in float32.
  const float scale = std::sqrt(static_cast<float>(c.hidden_size));
  c.embedding_multiplier = config.flag_or("use_bidirectional_attention", false) ? scale : bfloat16_next_to(scale);
  const RopeSettings local = RopeSettings::read_local(config, c.head_dim, 1e4, "sliding_attention");
  const RopeSettings global = RopeSettings::read(config, c.head_dim, 1e6, "full_attention");
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) c.ropes[layer] = c.slides(layer) ? local : global;
  const WeightPath path(weights);
  c.tie_word_embeddings = !path.has("lm_head.weight");
  return make_block_decoder(c, path);
}

}  // namespace

std::unique_ptr<Model> make_gemma3_text(const Config& config, Weights& weights) { return make(config, weights); }

// The multimodal checkpoint's language model: image tensors are left out.
std::unique_ptr<Model> make_gemma3(const Config& config, Weights& weights) {
  config.object("text_config");
  const Config kept = keep_language_model(config, weights);
  Json text = kept.json();
  const auto defaults = {std::pair("num_attention_heads", 8), std::pair("num_key_value_heads", 4)};
  for (const auto& [key, value] : defaults) {
    if (!text.contains(key)) text[key] = value;
  }
  text["vocab_size"] = config.integer_or("vocab_size", text.value("vocab_size", 262208), 1, 1 << 24);
  text["model_type"] = "gemma3";
  return make(Config(std::move(text), kept.place()), weights);
}

}  // namespace mlxk
