// GLM-4 (https://arxiv.org/abs/2406.12793), transformers' glm, and GLM-4 0414, its glm4: gate and up in one matrix,
// half of each head rotated in neighbouring pairs (mlx-lm rotates all of glm's); the second has norms after each
// sublayer as well.
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kGlm{.defaults = {.tie_word_embeddings = false},
                            .names = {.gate_up = "gate_up_proj"},
                            .qkv_bias_key = "attention_bias",
                            .head_may_be_absent = true,
                            .traditional = true,
                            .partial_rotary = 0.5};
constexpr BlockOptions kGlm4{.defaults = {.max_position_embeddings = 32768, .tie_word_embeddings = false},
                             .names = {.attention_post_norm = "post_self_attn_layernorm",
                                       .mlp_post_norm = "post_mlp_layernorm",
                                       .gate_up = "gate_up_proj"},
                             .qkv_bias_key = "attention_bias",
                             .traditional = true,
                             .partial_rotary = 0.5};

}  // namespace

std::unique_ptr<Model> make_glm(const Config& config, Weights& weights) {
  return make_block_decoder(kGlm, config, weights);
}

std::unique_ptr<Model> make_glm4(const Config& config, Weights& weights) {
  return make_block_decoder(kGlm4, config, weights);
}

}  // namespace mlxk
