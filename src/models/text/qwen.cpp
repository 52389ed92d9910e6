// The first Qwen (https://arxiv.org/abs/2309.16609): queries, keys and values in one matrix with a bias; w2 is the gate
// of the MLP and w1 is up. Its extensions beyond seq_length tokens, use_dynamic_ntk and use_logn_attn, are left out, as
// in mlx-lm: the context ends there.
#include <algorithm>

#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kQwen{.defaults = {.norm_eps = 1e-6, .tie_word_embeddings = false},
                             .names = {.embedding = "transformer.wte",
                                       .layers = "transformer.h",
                                       .norm = "transformer.ln_f",
                                       .attention_norm = "ln_1",
                                       .mlp_norm = "ln_2",
                                       .attention = "attn",
                                       .o = "c_proj",
                                       .qkv = "c_attn",
                                       .gate = "w2",
                                       .up = "w1",
                                       .down = "c_proj"},
                             .qkv_bias = true};

}  // namespace

std::unique_ptr<Model> make_qwen(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kQwen);
  if (config.integer_or("kv_channels", c.head_dim, 1, 4096) != c.head_dim) {
    throw config.bad("kv_channels", "must be hidden_size / num_attention_heads");
  }
  c.intermediate_size /= 2;
  c.out_bias = c.mlp_bias = c.options.head_bias = !config.flag_or("no_bias", true);
  if (c.max_position_embeddings > 0) {
    c.max_position_embeddings =
        std::min(c.max_position_embeddings, config.integer_or("seq_length", c.max_position_embeddings, 1, 1 << 30));
  }
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

}  // namespace mlxk
