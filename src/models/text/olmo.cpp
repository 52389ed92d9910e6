// OLMo (https://arxiv.org/abs/2402.00838), transformers' olmo: layer norms without weight and bias, queries, keys and
// values that may be clipped. OLMo 2 (https://arxiv.org/abs/2501.00656) and OLMo 3: norms only after the sublayers,
// queries and keys normed over all heads. In OLMo 3 three of four layers have a sliding window, and only the others
// scale their rope.
#include "models/registry.h"
#include "models/text/clipped_attention.h"

namespace mlxk {
namespace {

constexpr BlockNames kOlmoNames{.attention_norm = nullptr,
                                .attention_post_norm = "post_attention_layernorm",
                                .mlp_norm = nullptr,
                                .mlp_post_norm = "post_feedforward_layernorm"};
constexpr BlockOptions kOlmo{.defaults = {.norm_eps = 1e-5, .tie_word_embeddings = false},
                             .norm = NormKind::layer_plain,
                             .qkv_bias_key = "attention_bias",
                             .out_bias_key = "attention_bias"};
constexpr BlockOptions kOlmo2{.names = kOlmoNames,
                              .qkv_bias_key = "attention_bias",
                              .out_bias_key = "attention_bias",
                              .mlp_bias_key = "mlp_bias",
                              .qk_norm = QkNorm::before_rope,
                              .qk_norm_whole = true};
constexpr BlockOptions kOlmo3{.defaults = {.tie_word_embeddings = false, .sliding_window_pattern = 4},
                              .names = kOlmoNames,
                              .qkv_bias_key = "attention_bias",
                              .out_bias_key = "attention_bias",
                              .qk_norm = QkNorm::before_rope,
                              .qk_norm_whole = true};

}  // namespace

std::unique_ptr<Model> make_olmo(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kOlmo);
  c.norm_eps = 1e-5F;
  const float clip = static_cast<float>(config.number_or("clip_qkv", 0, 0, 1e9));
  sanitize_block(c, weights);
  return make_clipped_decoder(c, WeightPath(weights), clip);
}

std::unique_ptr<Model> make_olmo2(const Config& config, Weights& weights) {
  return make_block_decoder(kOlmo2, config, weights);
}

std::unique_ptr<Model> make_olmo3(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kOlmo3);
  RopeSettings unscaled;
  unscaled.dims = c.head_dim;
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    auto& rope = c.ropes[static_cast<size_t>(layer)];
    unscaled.theta = rope->theta;
    if (c.slides(layer)) rope = unscaled;
  }
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

}  // namespace mlxk
