// AFMoE, Arcee's Trinity (https://github.com/arcee-ai/trinity-large-tech-report): norms before and after each sublayer,
// a gate on attention's output, rope on sliding layers only, mixtures with DeepSeek-V3's router.
#include <cmath>

#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kAfmoe{.defaults = {.norm_eps = 1e-5, .tie_word_embeddings = false, .sliding_window = 2048},
                              .names = {.attention_post_norm = "post_attention_layernorm",
                                        .mlp_norm = "pre_mlp_layernorm",
                                        .mlp_post_norm = "post_mlp_layernorm",
                                        .attention_gate = "gate_proj"},
                              .qk_norm = QkNorm::before_rope,
                              .mixture = true,
                              .experts = {.score = RoutingRule::Score::sigmoid,
                                          .normalise = true,
                                          .router = "mlp.router.gate",
                                          .experts = "mlp.experts",
                                          .shared = "mlp.shared_experts",
                                          .selection_bias = "mlp.expert_bias"}};

}  // namespace

std::unique_ptr<Model> make_afmoe(const Config& config, Weights& weights) {
  BlockOptions options = kAfmoe;
  options.defaults.sliding_window_pattern =
      static_cast<int>(config.integer_or("global_attn_every_n_layers", 4, 1, 1024));
  BlockConfig c = read_block(config, options);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    if (!c.slides(layer)) c.ropes[static_cast<size_t>(layer)].reset();
  }
  if (config.flag_or("mup_enabled", true)) c.embedding_multiplier = std::sqrt(static_cast<float>(c.hidden_size));
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

}  // namespace mlxk
