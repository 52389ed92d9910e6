// GLM-4 0414 (https://arxiv.org/abs/2406.12793): norms before and behind each sublayer, gate and up in one matrix, half
// of each head rotated in neighbouring pairs.
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kGlm4{.defaults = {.max_position_embeddings = 32768, .tie_word_embeddings = false},
                             .names = {.attention_post_norm = "post_self_attn_layernorm",
                                       .mlp_post_norm = "post_mlp_layernorm",
                                       .gate_up = "gate_up_proj"},
                             .qkv_bias_key = "attention_bias",
                             .traditional = true,
                             .partial_rotary = 0.5};

}  // namespace

std::unique_ptr<Model> make_glm4(const Config& config, Weights& weights) {
  return make_block_decoder(kGlm4, config, weights);
}

}  // namespace mlxk
