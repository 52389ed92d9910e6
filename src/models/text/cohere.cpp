// Command R (transformers' cohere) and Command R7B (cohere2): parallel attention and MLP after one layer norm,
// neighbouring pairs rotated, logits scaled. In cohere2 three of four layers have a sliding window, and only those have
// rope.
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockNames kCohereNames{.mlp_norm = "input_layernorm"};
constexpr BlockOptions kCohere{.defaults = {.hidden_size = 8192,
                                            .num_hidden_layers = 40,
                                            .num_attention_heads = 64,
                                            .num_key_value_heads = 64,
                                            .vocab_size = 256000,
                                            .intermediate_size = 22528,
                                            .norm_eps = 1e-5},
                               .names = kCohereNames,
                               .norm = NormKind::layer_no_bias,
                               .qkv_bias_key = "attention_bias",
                               .out_bias_key = "attention_bias",
                               .qk_norm_kind = NormKind::layer_by_head,
                               .parallel = true,
                               .theta = 8e6,
                               .traditional = true};
constexpr BlockOptions kCohere2{.defaults = {.hidden_size = 4096,
                                             .num_hidden_layers = 32,
                                             .num_attention_heads = 32,
                                             .num_key_value_heads = 8,
                                             .head_dim = 128,
                                             .vocab_size = 256000,
                                             .intermediate_size = 14336,
                                             .norm_eps = 1e-5,
                                             .sliding_window = 4096,
                                             .sliding_window_pattern = 4},
                                .names = kCohereNames,
                                .norm = NormKind::layer_no_bias,
                                .qkv_bias_key = "attention_bias",
                                .out_bias_key = "attention_bias",
                                .parallel = true,
                                .theta = 5e4,
                                .traditional = true};

std::unique_ptr<Model> make(BlockConfig c, const Config& config, Weights& weights) {
  c.logit_multiplier = static_cast<float>(config.number_or("logit_scale", 0.0625, 1e-9, 1e9));
  c.tie_word_embeddings = c.tie_word_embeddings || !weights.has("lm_head.weight");
  if (config.flag_or("layer_norm_bias", false)) c.options.norm = NormKind::layer;
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

}  // namespace

std::unique_ptr<Model> make_cohere(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kCohere);
  if (config.flag_or("use_qk_norm", false)) c.options.qk_norm = QkNorm::before_rope;
  return make(std::move(c), config, weights);
}

std::unique_ptr<Model> make_cohere2(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kCohere2);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    if (!c.slides(layer)) c.ropes[static_cast<size_t>(layer)].reset();
  }
  return make(std::move(c), config, weights);
}

}  // namespace mlxk
