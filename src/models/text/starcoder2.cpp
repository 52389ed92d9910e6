// StarCoder 2 (https://arxiv.org/abs/2402.19173): layer norms, biases everywhere, an MLP without a gate. Its window,
// which mlx-lm leaves out, applies to every layer, as in transformers.
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr const char* kBias = "use_bias";
constexpr BlockOptions kStarcoder2{.defaults = {.vocab_size = 49152, .norm_eps = 1e-5, .activation = "gelu"},
                                   .names = {.up = "c_fc", .down = "c_proj"},
                                   .norm = NormKind::layer,
                                   .qkv_bias_key = kBias,
                                   .out_bias_key = kBias,
                                   .mlp_bias_key = kBias,
                                   .qkv_bias = true,
                                   .out_bias = true,
                                   .mlp_bias = true,
                                   .gated = false,
                                   .theta = 1e5};

}  // namespace

std::unique_ptr<Model> make_starcoder2(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kStarcoder2);
  const int window = static_cast<int>(config.integer_or("sliding_window", 0, 1, 1 << 30));
  c.windows.assign(c.windows.size(), window);
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

}  // namespace mlxk
