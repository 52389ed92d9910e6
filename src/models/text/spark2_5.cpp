// Spark 2.5, as mlx-lm computes it: three of four layers have a sliding window and their own rope, queries, keys and
// values are in one matrix, and each head has a gate.
#include "models/registry.h"
#include "models/text/block.h"
#include "models/text/tensor_names.h"

namespace mlxk {
namespace {

constexpr BlockOptions kSpark{
    .defaults = {.activation = "gelu", .sliding_window_pattern = 4},
    .names = {.embedding = "model.embedding", .o = "out_proj", .qkv = "q_k_v_proj", .attention_gate = "g_proj"},
    .mlp_bias_key = "mlp_bias"};

}  // namespace

std::unique_ptr<Model> make_spark2_5(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kSpark);
  if (config.flag_or("attention_bias", false)) throw config.bad("attention_bias", "true is not built in");
  if (!config.flag_or("headwise_attn_output_gate", true)) {
    throw config.bad("headwise_attn_output_gate", "false is not built in");
  }
  if (config.text_or("gate_attn_act_mode", "sigmoid") != "sigmoid") {
    throw config.bad("gate_attn_act_mode", "must be sigmoid");
  }
  const RopeSettings local = RopeSettings::read(config, c.head_dim, kSpark.theta, "sliding_attention");
  const RopeSettings global = RopeSettings::read(config, c.head_dim, kSpark.theta, "full_attention");
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    c.ropes[static_cast<size_t>(layer)] = c.slides(layer) ? local : global;
  }
  rename_tensors(weights, {{"model.embed_tokens.", "model.embedding."}});
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

}  // namespace mlxk
