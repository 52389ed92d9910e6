// Ling and Ring (https://arxiv.org/abs/2503.05139), transformers' bailing_moe: queries, keys and values in one matrix,
// a router by softmax or sigmoid with shared experts beside it.
#include <fmt/format.h>

#include "mlx/linalg.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kBailingMoe{
    .defaults = {.tie_word_embeddings = false},
    .names = {.embedding = "model.word_embeddings",
              .attention = "attention",
              .o = "dense",
              .qkv = "query_key_value",
              .q_norm = "query_layernorm",
              .k_norm = "key_layernorm"},
    .qkv_bias_key = "use_qkv_bias",
    .out_bias_key = "use_bias",
    .mlp_bias_key = "use_bias",
    .qk_norm = QkNorm::before_rope,
    .mixture = true,
    .experts = {.eps = 1e-20F, .router = "mlp.gate.gate_proj", .shared = "mlp.shared_experts"}};

/// The head's columns are normed once, when the checkpoint says so and has not been converted yet.
void norm_head(Weights& weights) {
  if (!weights.has("lm_head.weight")) return;
  const mx::array head = weights.take_raw("lm_head.weight");
  const mx::array wide = mx::astype(head, mx::float32);
  const mx::array norm = mx::sqrt(mx::sum(mx::square(wide), 0, true));
  weights.tensors().emplace("lm_head.weight",
                            mx::astype(mx::divide(wide, mx::add(norm, mx::array(1e-7F))), head.dtype()));
}

void rename_bailing(Weights& weights, const std::string& from, const std::string& to) {
  if (weights.has(from)) weights.tensors().emplace(to, weights.take_raw(from));
}

}  // namespace

std::unique_ptr<Model> make_bailing_moe(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kBailingMoe);
  MixtureConfig& mixture = *c.mixture;
  if (config.flag_or("use_bias", false)) throw config.bad("use_bias", "true is not built in");
  if (!config.flag_or("use_qk_norm", false)) c.options.qk_norm = QkNorm::none;
  const std::string score = config.text_or("score_function", "softmax");
  if (score != "softmax" && score != "sigmoid") throw config.bad("score_function", "must be softmax or sigmoid");
  mixture.rule.score = score == "softmax" ? RoutingRule::Score::softmax : RoutingRule::Score::sigmoid;
  if (config.flag_or("moe_router_enable_expert_bias", false)) {
    mixture.defaults.selection_bias = "mlp.gate.expert_bias";
  }
  const int shared = static_cast<int>(config.integer_or("num_shared_experts", 0, 0, 1024));
  mixture.shared_wide = config.flag_or("moe_router_enable_shared_expert", true)
                            ? shared * static_cast<int>(config.integer_or("moe_shared_expert_intermediate_size",
                                                                          mixture.wide, 1, 1 << 20))
                            : 0;
  if (config.has("rotary_dim")) {
    const int rotary = static_cast<int>(config.integer("rotary_dim", 2, c.head_dim));
    for (auto& rope : c.ropes) rope->dims = rotary;
  }
  bool converted = true;
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const std::string gate = fmt::format("model.layers.{}.mlp.gate", layer);
    if (c.mixes(layer) && weights.has(gate + ".weight")) converted = false;
    rename_bailing(weights, gate + ".weight", gate + ".gate_proj.weight");
  }
  if (!converted && config.flag_or("norm_head", false)) norm_head(weights);
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

}  // namespace mlxk
