// gpt-oss (https://arxiv.org/abs/2508.10925), as transformers and mlx-lm compute it: every other layer has a window,
// each head has a sink, biases everywhere, and experts with a clamped SwiGLU whose weights are a softmax over the
// chosen ones.
#include <fmt/format.h>

#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kGptOss{.defaults = {.head_dim = 64,
                                            .norm_eps = 1e-5,
                                            .tie_word_embeddings = false,
                                            .sliding_window = 128,
                                            .sliding_window_pattern = 2},
                               .names = {.sinks = "sinks"},
                               .qkv_bias = true,
                               .out_bias = true,
                               .theta = 150000,
                               .mixture = true,
                               .experts = {.score = RoutingRule::Score::softmax_of_chosen,
                                           .expert_bias = true,
                                           .router_bias = true,
                                           .router = "mlp.router",
                                           .experts = "mlp.experts"}};

/// Rows of gate (even) and up (odd) of `both` [experts, 2 * wide, ...].
mx::array every_other_row(const mx::array& both, int first) {
  mx::Shape begin(both.ndim(), 0), step(both.ndim(), 1);
  begin[1] = first;
  step[1] = 2;
  return mx::contiguous(mx::slice(both, begin, both.shape(), step));
}

/// The published files interleave gate and up, and hold mxfp4 as bytes: `gate_up_proj_blocks` [experts, rows, groups,
/// 16] with `_scales` [experts, rows, groups].
void split_published(const BlockConfig& c, Weights& weights) {
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const std::string experts = fmt::format("model.layers.{}.mlp.experts.", layer);
    const auto each = [&](const std::string& from, const auto& place) {
      if (weights.has(experts + from)) place(weights.take_raw(experts + from));
    };
    const auto put = [&](const std::string& to, const mx::array& x) { weights.tensors().emplace(experts + to, x); };
    const auto put_both = [&](const std::string& leaf, const mx::array& both) {
      if (both.ndim() < 2) return weights.note(experts + "gate_up_proj must have an axis of experts and one of rows");
      put("gate_proj." + leaf, every_other_row(both, 0));
      put("up_proj." + leaf, every_other_row(both, 1));
    };
    const auto packed = [](const mx::array& blocks) { return mx::flatten(mx::view(blocks, mx::uint32), -2, -1); };
    each("gate_up_proj_blocks", [&](const mx::array& x) { put_both("weight", packed(x)); });
    each("gate_up_proj_scales", [&](const mx::array& x) { put_both("scales", x); });
    each("gate_up_proj_bias", [&](const mx::array& x) { put_both("bias", x); });
    each("gate_up_proj", [&](const mx::array& x) { put_both("weight", mx::swapaxes(x, -1, -2)); });
    each("down_proj_blocks", [&](const mx::array& x) { put("down_proj.weight", packed(x)); });
    each("down_proj_scales", [&](const mx::array& x) { put("down_proj.scales", x); });
    each("down_proj_bias", [&](const mx::array& x) { put("down_proj.bias", x); });
    each("down_proj", [&](const mx::array& x) { put("down_proj.weight", mx::contiguous(mx::swapaxes(x, -1, -2))); });
  }
}

}  // namespace

std::unique_ptr<Model> make_gpt_oss(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kGptOss);
  c.activation = Activation(Activation::swiglu_oai, static_cast<float>(config.number_or("swiglu_limit", 7, 0, 1e6)));
  split_published(c, weights);
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

}  // namespace mlxk
