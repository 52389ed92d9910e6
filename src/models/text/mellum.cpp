// Mellum 2, as transformers and mlx-lm compute it: Qwen3-MoE's block, with a separate rope for sliding layers.
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kMellum{.defaults = {.tie_word_embeddings = false, .sliding_window = 1024},
                               .qkv_bias_key = "attention_bias",
                               .out_bias_key = "attention_bias",
                               .qk_norm = QkNorm::before_rope,
                               .mixture = true,
                               .experts = {.normalise = true}};

}  // namespace

std::unique_ptr<Model> make_mellum(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kMellum);
  const RopeSettings local = RopeSettings::read(config, c.head_dim, kMellum.theta, "sliding_attention");
  const RopeSettings global = RopeSettings::read(config, c.head_dim, kMellum.theta, "full_attention");
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    c.ropes[static_cast<size_t>(layer)] = c.slides(layer) ? local : global;
  }
  weights.drop([](const std::string& name) { return name.starts_with("mtp.") || name.starts_with("model.mtp."); });
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

}  // namespace mlxk
