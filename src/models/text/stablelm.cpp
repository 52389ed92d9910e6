// StableLM 2 (https://arxiv.org/abs/2402.17834): layer norms, a quarter of each head rotated; the 12B model has
// parallel attention and MLP, and norms of queries and keys with separate weights per head.
#include <fmt/format.h>

#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kStableLm{.defaults = {.norm_eps = 1e-5, .tie_word_embeddings = false},
                                 .names = {.q_norm = "q_layernorm", .k_norm = "k_layernorm"},
                                 .norm = NormKind::layer,
                                 .qkv_bias_key = "use_qkv_bias",
                                 .qk_norm = QkNorm::before_rope,
                                 .qk_norm_kind = NormKind::layer_by_head,
                                 .parallel_key = "use_parallel_residual",
                                 .partial_rotary = 0.25};

/// The heads' weights are stored one by one: `…q_layernorm.norms.3.weight` becomes row 3 of `…q_layernorm.weight`.
void stack_head_norms(const BlockConfig& c, Weights& weights) {
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    for (const auto& [norm, heads] :
         {std::pair("q_layernorm", c.num_attention_heads), std::pair("k_layernorm", c.num_key_value_heads)}) {
      const std::string path = fmt::format("model.layers.{}.self_attn.{}", layer, norm);
      if (!weights.has(path + ".norms.0.weight")) continue;
      std::vector<mx::array> rows;
      for (int head = 0; head < heads; ++head) {
        rows.push_back(weights.take_to_compute(fmt::format("{}.norms.{}.weight", path, head)));
        if (rows.back().shape() == rows.front().shape()) continue;
        weights.note(fmt::format("{}.norms.{} differs in shape from the first head's", path, head));
        rows.back() = rows.front();
      }
      weights.compute(path + ".weight", mx::stack(rows));
    }
  }
}

}  // namespace

std::unique_ptr<Model> make_stablelm(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kStableLm);
  if (!config.flag_or("qk_layernorm", false)) c.options.qk_norm = QkNorm::none;
  if (c.parallel) c.options.names.mlp_norm = c.options.names.attention_norm;
  stack_head_norms(c, weights);
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

}  // namespace mlxk
