// Phi-3 and Phi-4 (https://arxiv.org/abs/2404.14219): a llama block with fused projections. Its window, which mlx-lm
// leaves out, applies to every layer, as in transformers.
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kPhi3{.defaults = {.tie_word_embeddings = false},
                             .names = {.qkv = "qkv_proj", .gate_up = "gate_up_proj"}};

}  // namespace

std::unique_ptr<Model> make_phi3(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kPhi3);
  const int window = static_cast<int>(config.integer_or("sliding_window", 0, 1, 1 << 30));
  c.windows.assign(c.windows.size(), window);
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

}  // namespace mlxk
