// Phi-1.5 and Phi-2 (https://arxiv.org/abs/2309.05463), transformers' phi: parallel attention and MLP after one layer
// norm, part of each head rotated, biases everywhere, including the head.
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kPhi{.defaults = {.norm_eps = 1e-5, .tie_word_embeddings = false, .activation = "gelu_new"},
                            .names = {.norm = "model.final_layernorm",
                                      .mlp_norm = "input_layernorm",
                                      .o = "dense",
                                      .q_norm = "q_layernorm",
                                      .k_norm = "k_layernorm",
                                      .up = "fc1",
                                      .down = "fc2"},
                            .norm = NormKind::layer,
                            .qkv_bias = true,
                            .out_bias = true,
                            .mlp_bias = true,
                            .head_bias = true,
                            .qk_norm = QkNorm::before_rope,
                            .qk_norm_kind = NormKind::layer,
                            .gated = false,
                            .parallel = true,
                            .partial_rotary = 0.5};

}  // namespace

std::unique_ptr<Model> make_phi(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kPhi);
  if (!config.flag_or("qk_layernorm", false)) c.options.qk_norm = QkNorm::none;
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

}  // namespace mlxk
