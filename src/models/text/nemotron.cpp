// Nemotron-4 (https://arxiv.org/abs/2402.16819): layer norms with factors 1 + weight, squared ReLU without a gate, half
// of each head rotated.
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kNemotron{.defaults = {.norm_eps = 1e-5, .tie_word_embeddings = false, .activation = "relu2"},
                                 .norm = NormKind::layer_plus_one,
                                 .qkv_bias_key = "attention_bias",
                                 .out_bias_key = "attention_bias",
                                 .mlp_bias_key = "mlp_bias",
                                 .gated = false,
                                 .partial_rotary = 0.5};

}  // namespace

std::unique_ptr<Model> make_nemotron(const Config& config, Weights& weights) {
  return make_block_decoder(kNemotron, config, weights);
}

}  // namespace mlxk
