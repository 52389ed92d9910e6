// Mixtral (https://arxiv.org/abs/2401.04088): a llama block whose MLPs are mixtures; weights are a softmax over the
// chosen experts. GraniteMoe (transformers) is the same with Granite's scales and gate and up in one matrix. MiniMax M2
// (https://github.com/MiniMax-AI/MiniMax-M2) scores by sigmoid with a bias for the choice, and norms queries and keys
// over all heads.
#include <fmt/format.h>

#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kMixtral{.defaults = {.norm_eps = 1e-5, .tie_word_embeddings = false},
                                .theta = 1e6,
                                .mixture = true,
                                .experts = {.score = RoutingRule::Score::softmax_of_chosen,
                                            .router = "block_sparse_moe.gate",
                                            .experts = "block_sparse_moe.switch_mlp"}};
constexpr BlockOptions kGraniteMoe{.qkv_bias_key = "attention_bias",
                                   .out_bias_key = "attention_bias",
                                   .granite_scales = true,
                                   .mixture = true,
                                   .experts = {.score = RoutingRule::Score::softmax_of_chosen,
                                               .router = "block_sparse_moe.router.layer",
                                               .experts = "block_sparse_moe.switch_mlp"}};
constexpr BlockOptions kMiniMax{.defaults = {.tie_word_embeddings = false},
                                .qk_norm = QkNorm::before_rope,
                                .qk_norm_whole = true,
                                .qk_norm_key = "use_qk_norm",
                                .mixture = true,
                                .experts = {.score = RoutingRule::Score::sigmoid,
                                            .normalise = true,
                                            .eps = 1e-20F,
                                            .router = "block_sparse_moe.gate",
                                            .experts = "block_sparse_moe.switch_mlp",
                                            .selection_bias = "block_sparse_moe.e_score_correction_bias"}};

/// Hugging Face's files hold each expert separately, under the paper's names.
void stack_w123(const BlockConfig& c, Weights& weights) {
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const std::string path = fmt::format("model.layers.{}.block_sparse_moe", layer);
    stack_experts(weights, path, path + ".switch_mlp", c.mixture->experts,
                  {{"w1", "gate_proj"}, {"w2", "down_proj"}, {"w3", "up_proj"}});
  }
}

/// `input_linear` [experts, 2 * wide, hidden] holds gate and up, `output_linear` is down.
void split_input_linear(const BlockConfig& c, Weights& weights) {
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const std::string path = fmt::format("model.layers.{}.block_sparse_moe.", layer);
    if (!weights.has(path + "input_linear.weight")) continue;
    const mx::array both = weights.take_raw(path + "input_linear.weight");
    if (both.ndim() != 3 || both.shape(1) % 2 != 0) {
      weights.note(path + "input_linear.weight must be [experts, 2 * intermediate_size, hidden_size]");
      continue;
    }
    const std::vector<mx::array> halves = mx::split(both, 2, 1);
    weights.tensors().emplace(path + "switch_mlp.gate_proj.weight", mx::contiguous(halves[0]));
    weights.tensors().emplace(path + "switch_mlp.up_proj.weight", mx::contiguous(halves[1]));
    if (!weights.has(path + "output_linear.weight")) continue;
    weights.tensors().emplace(path + "switch_mlp.down_proj.weight", weights.take_raw(path + "output_linear.weight"));
  }
}

}  // namespace

std::unique_ptr<Model> make_mixtral(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kMixtral);
  stack_w123(c, weights);
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

std::unique_ptr<Model> make_granitemoe(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kGraniteMoe);
  split_input_linear(c, weights);
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

std::unique_ptr<Model> make_minimax(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kMiniMax);
  const int rotary = static_cast<int>(config.integer_or("rotary_dim", c.head_dim, 2, c.head_dim));
  for (auto& rope : c.ropes) rope->dims = rotary;
  stack_w123(c, weights);
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

std::unique_ptr<Model> make_minimax_m2(const Config& config, Weights& weights) { return make_minimax(config, weights); }

}  // namespace mlxk
