// GLM-4.5 to 4.7 (https://arxiv.org/abs/2508.06471), Solar Open (https://arxiv.org/abs/2601.07022) and dots.llm1
// (https://arxiv.org/abs/2506.05767): plain layers first, then mixtures with DeepSeek-V3's router: sigmoid, a bias for
// the choice, the best groups of experts, a shared expert.
#include <fmt/format.h>

#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kGlm4Moe{.defaults = {.norm_eps = 1e-5, .tie_word_embeddings = false},
                                .qkv_bias_key = "attention_bias",
                                .qk_norm = QkNorm::before_rope,
                                .partial_rotary = 0.5,
                                .mixture = true,
                                .experts = kDeepseekV3Mixture};
constexpr BlockOptions kSolarOpen{.defaults = {.norm_eps = 1e-5, .tie_word_embeddings = false},
                                  .qkv_bias_key = "attention_bias",
                                  .qk_norm = QkNorm::before_rope,
                                  .theta = 1e6,
                                  .mixture = true,
                                  .experts = kDeepseekV3Mixture};
constexpr BlockOptions kDots1{.defaults = {.tie_word_embeddings = false},
                              .qk_norm = QkNorm::before_rope,
                              .mixture = true,
                              .experts = kDeepseekV3Mixture};

std::unique_ptr<Model> make_glm(const BlockOptions& options, const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, options);
  if (!config.flag_or("use_qk_norm", false)) c.options.qk_norm = QkNorm::none;
  drop_further_layers(c, weights);
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

}  // namespace

std::unique_ptr<Model> make_glm4_moe(const Config& config, Weights& weights) {
  return make_glm(kGlm4Moe, config, weights);
}

std::unique_ptr<Model> make_solar_open(const Config& config, Weights& weights) {
  return make_glm(kSolarOpen, config, weights);
}

std::unique_ptr<Model> make_dots1(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kDots1);
  c.mixture->defaults.experts = "mlp.experts";  // mlx-lm's stacks have the name of the single experts
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const std::string mlp = fmt::format("model.layers.{}.mlp", layer);
    stack_experts(weights, mlp, mlp + ".experts", c.mixture->experts);
  }
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

}  // namespace mlxk
