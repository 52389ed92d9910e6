// InternLM 2 (https://arxiv.org/abs/2403.17297): a llama block with other tensor names. One matrix holds, for each key
// and value head, its queries, its key and its value.
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kInternLm2{.defaults = {.max_position_embeddings = 32768, .tie_word_embeddings = false},
                                  .names = {.embedding = "model.tok_embeddings",
                                            .head = "output",
                                            .attention_norm = "attention_norm",
                                            .mlp_norm = "ffn_norm",
                                            .attention = "attention",
                                            .o = "wo",
                                            .qkv = "wqkv",
                                            .mlp = "feed_forward",
                                            .gate = "w1",
                                            .up = "w3",
                                            .down = "w2"},
                                  .qkv_bias_key = "bias",
                                  .out_bias_key = "bias",
                                  .qkv_bias = true,
                                  .out_bias = true,
                                  .qkv_by_groups = true};

}  // namespace

std::unique_ptr<Model> make_internlm2(const Config& config, Weights& weights) {
  return make_block_decoder(kInternLm2, config, weights);
}

}  // namespace mlxk
