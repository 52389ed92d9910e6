// Lille (https://github.com/Nikityyy/lille), as mlx-lm computes it: a llama block whose norms are inside attention and
// MLP, neighbouring pairs rotated, the embedding as the head.
#include <cmath>

#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kLille{.defaults = {.intermediate_size = 0, .norm_eps = 1e-5},
                              .names = {.embedding = "transformer.tok_embeddings",
                                        .layers = "transformer.layers",
                                        .norm = "transformer.norm",
                                        .attention_norm = "attention.norm",
                                        .mlp_norm = "feed_forward.norm",
                                        .attention = "attention",
                                        .o = "out_proj",
                                        .qkv = "qkv_proj",
                                        .mlp = "feed_forward"},
                              .traditional = true};

}  // namespace

std::unique_ptr<Model> make_lille_130m(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kLille);
  // 8/3 of the width, rounded to a multiple of 256, ties to even.
  c.intermediate_size = 256 * static_cast<int>(std::nearbyint((8 * c.hidden_size / 3) / 256.0));
  if (c.intermediate_size == 0) throw config.bad("n_embd", "must be at least 49");
  c.max_position_embeddings = config.integer_or("block_size", 0, 1, int64_t{1} << 31);
  c.tie_word_embeddings = true;
  weights.drop([](const std::string& name) { return name.find("rotary_emb") != std::string::npos; });
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

}  // namespace mlxk
