// Qwen1.5-MoE and Qwen2-MoE (https://arxiv.org/abs/2407.10671), OLMoE (https://arxiv.org/abs/2409.02060): softmax over
// all experts; Qwen's have a shared expert with a gate, OLMoE norms queries and keys over all heads.
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kQwen2Moe{.defaults = {.tie_word_embeddings = false},
                                 .qkv_bias = true,
                                 .theta = 1e6,
                                 .mixture = true,
                                 .experts = {.shared = "mlp.shared_expert", .shared_gate = "mlp.shared_expert_gate"}};
constexpr BlockOptions kOlmoe{.defaults = {.norm_eps = 1e-5},
                              .qkv_bias_key = "attention_bias",
                              .out_bias_key = "attention_bias",
                              .qk_norm = QkNorm::before_rope,
                              .qk_norm_whole = true,
                              .mixture = true};

}  // namespace

std::unique_ptr<Model> make_qwen2_moe(const Config& config, Weights& weights) {
  return make_block_decoder(kQwen2Moe, config, weights);
}

std::unique_ptr<Model> make_olmoe(const Config& config, Weights& weights) {
  return make_block_decoder(kOlmoe, config, weights);
}

}  // namespace mlxk
