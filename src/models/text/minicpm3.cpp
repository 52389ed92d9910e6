// MiniCPM3 (https://github.com/OpenBMB/MiniCPM): MiniCPM's scales around DeepSeek-V2's latent attention. Logits of a
// tied model are divided as well, as in transformers.
#include <fmt/format.h>

#include "json/json.h"
#include "models/registry.h"
#include "models/text/latent_config.h"

namespace mlxk {
namespace {

constexpr BlockOptions kMiniCpm3{.defaults = {.tie_word_embeddings = true}, .theta = 1e6, .minicpm_scales = true};

}  // namespace

std::unique_ptr<Model> make_minicpm3(const Config& config, Weights& weights) {
  Json json = config.json();
  if (!config.has("v_head_dim")) {
    json["v_head_dim"] = config.integer("hidden_size", 1, 1 << 20) / config.integer("num_attention_heads", 1, 4096);
  }
  const Config whole(std::move(json), config.place());
  const LatentConfig latent = LatentConfig::read(whole);
  BlockConfig c = read_latent_block(whole, latent, kMiniCpm3);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    latent.split_kv_b(c, weights, fmt::format("model.layers.{}.self_attn", layer), false);
  }
  c.tie_word_embeddings = !weights.has("lm_head.weight");
  sanitize_block(c, weights);
  return make_latent_decoder(c, latent, WeightPath(weights));
}

}  // namespace mlxk
