// Gemma (https://arxiv.org/abs/2403.08295) and Gemma 2 (https://arxiv.org/abs/2408.00118), as transformers computes
// them: the tanh form of GELU, and in Gemma 2 a window on every other layer, which mlx-lm leaves out.
#include <cmath>

#include "json/json.h"
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kGemma{.defaults = {.activation = "gelu_pytorch_tanh"}, .norm = NormKind::rms_plus_one};

constexpr BlockOptions kGemma2{
    .defaults = {.activation = "gelu_pytorch_tanh", .sliding_window = 4096, .sliding_window_pattern = 2},
    .names = {.attention_post_norm = "post_attention_layernorm",
              .mlp_norm = "pre_feedforward_layernorm",
              .mlp_post_norm = "post_feedforward_layernorm"},
    .norm = NormKind::rms_plus_one};

/// Old configurations say "gelu" in `hidden_act` but mean the tanh form.
Config without_hidden_act(const Config& config) {
  Json json = config.json();
  json.erase("hidden_act");
  return Config(std::move(json), config.place());
}

std::unique_ptr<Model> make(BlockConfig c, Weights& weights) {
  c.embedding_multiplier = bfloat16_next_to(std::sqrt(static_cast<float>(c.hidden_size)));
  c.tie_word_embeddings = true;
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

}  // namespace

std::unique_ptr<Model> make_gemma(const Config& config, Weights& weights) {
  return make(read_block(without_hidden_act(config), kGemma), weights);
}

std::unique_ptr<Model> make_gemma2(const Config& config, Weights& weights) {
  BlockConfig c = read_block(without_hidden_act(config), kGemma2);
  c.attention_scale = static_cast<float>(1 / std::sqrt(config.number_or("query_pre_attn_scalar", 256, 1e-6, 1e9)));
  c.attention_soft_cap = static_cast<float>(config.number_or("attn_logit_softcapping", 50, 0, 1e9));
  c.final_soft_cap = static_cast<float>(config.number_or("final_logit_softcapping", 30, 0, 1e9));
  return make(std::move(c), weights);
}

}  // namespace mlxk
