// GPT-NeoX (https://arxiv.org/abs/2204.06745), including the Pythia models, and GPT-J: parallel attention and MLP, part
// of each head rotated. Tensor names of transformers are converted to mlx-lm's. GPT-NeoX's activation is read from
// config.json, which mlx-lm ignores.
#include "models/registry.h"
#include "models/text/block.h"
#include "models/text/tensor_names.h"

namespace mlxk {
namespace {

constexpr BlockOptions kGptNeoX{.defaults = {.intermediate_size = 0,
                                             .norm_eps = 1e-5,
                                             .tie_word_embeddings = false,
                                             .activation = "gelu_pytorch_tanh"},
                                .names = {.embedding = "model.embed_in",
                                          .layers = "model.h",
                                          .norm = "model.final_layer_norm",
                                          .head = "model.embed_out",
                                          .attention = "attention",
                                          .o = "dense",
                                          .qkv = "query_key_value",
                                          .up = "dense_h_to_4h",
                                          .down = "dense_4h_to_h"},
                                .norm = NormKind::layer,
                                .qkv_bias_key = "attention_bias",
                                .out_bias_key = "attention_bias",
                                .qkv_bias = true,
                                .out_bias = true,
                                .mlp_bias = true,
                                .qkv_by_groups = true,
                                .gated = false,
                                .parallel = true,
                                .parallel_key = "use_parallel_residual",
                                .partial_rotary = 0.25};
constexpr BlockOptions kGptJ{
    .defaults = {.intermediate_size = 0, .norm_eps = 1e-5, .tie_word_embeddings = false, .activation = "gelu_new"},
    .names = {.embedding = "model.wte",
              .layers = "model.h",
              .norm = "model.ln_f",
              .attention_norm = "ln_1",
              .mlp_norm = "ln_1",
              .attention = "attn",
              .o = "out_proj",
              .up = "fc_in",
              .down = "fc_out"},
    .norm = NormKind::layer,
    .mlp_bias = true,
    .head_bias = true,
    .gated = false,
    .parallel = true,
    .traditional = true};

std::unique_ptr<Model> make_gpt_neox_model(BlockConfig c, Weights& weights) {
  if (c.intermediate_size == 0) c.intermediate_size = 4 * c.hidden_size;
  const auto causal_mask = [](const std::string& name) {  // a buffer of old files
    return name.ends_with(".attention.bias") || name.ends_with(".attn.bias") || name.ends_with(".masked_bias");
  };
  weights.drop(causal_mask);
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

}  // namespace

std::unique_ptr<Model> make_gpt_neox(const Config& config, Weights& weights) {
  rename_tensors(weights, {{"gpt_neox.layers.", "model.h."}, {"gpt_neox.", "model."}});
  if (weights.has("embed_out.weight")) rename_tensors(weights, {{"embed_out.", "model.embed_out."}});
  return make_gpt_neox_model(read_block(config, kGptNeoX), weights);
}

std::unique_ptr<Model> make_gptj(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kGptJ);
  const int rotary = static_cast<int>(config.integer_or("rotary_dim", c.head_dim, 2, c.head_dim));
  if (rotary % 2 != 0) throw config.bad("rotary_dim", "must be even");
  for (auto& rope : c.ropes) rope->dims = rotary;
  rename_tensors(weights, {{"transformer.", "model."}});
  return make_gpt_neox_model(std::move(c), weights);
}

}  // namespace mlxk
