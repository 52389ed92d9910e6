// DBRX (https://www.databricks.com/blog/introducing-dbrx-new-state-art-open-llm), as transformers and mlx-lm compute
// it: layer norms without a bias, queries, keys and values in one matrix and clipped, every MLP a mixture.
#include <fmt/format.h>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/clipped_attention.h"

namespace mlxk {
namespace {

constexpr BlockOptions kDbrx{.defaults = {.intermediate_size = 0, .norm_eps = 1e-5, .tie_word_embeddings = false},
                             .names = {.embedding = "transformer.wte",
                                       .layers = "transformer.blocks",
                                       .norm = "transformer.norm_f",
                                       .attention_norm = "norm_attn_norm.norm_1",
                                       .mlp_norm = "norm_attn_norm.norm_2",
                                       .attention = "norm_attn_norm.attn",
                                       .o = "out_proj",
                                       .qkv = "Wqkv"},
                             .norm = NormKind::layer_no_bias,
                             .mixture = true,
                             .experts = {.normalise = true, .router = "ffn.router.layer", .experts = "ffn.switch_mlp"}};

/// attn_config and ffn_config with the usual keys, beside the others.
Config dbrx_keys(const Config& config, const Config& attention, const Config& ffn) {
  if (ffn.has("ffn_act_fn") && ffn.object("ffn_act_fn").text_or("name", "silu") != "silu") {
    throw ffn.bad("ffn_act_fn", "other than silu is not built in");
  }
  if (ffn.number_or("moe_normalize_expert_weights", 1, 0, 1e9) != 1) {
    throw ffn.bad("moe_normalize_expert_weights", "other than 1 is not built in");
  }
  Json json = config.json();
  json["num_key_value_heads"] = attention.integer("kv_n_heads", 1, 4096);
  if (attention.has("rope_theta")) {
    json["rope_theta"] = attention.number("rope_theta", 1, 1e12);
    json.erase("rope_parameters");
  }
  const int64_t experts = ffn.integer("moe_num_experts", 1, 65536);
  json["num_experts"] = experts;
  json["num_experts_per_tok"] = ffn.integer("moe_top_k", 1, experts);
  json["moe_intermediate_size"] = ffn.integer("ffn_hidden_size", 1, 1 << 20);
  if (config.has("max_seq_len")) json["max_position_embeddings"] = config.integer("max_seq_len", 1, int64_t{1} << 31);
  return Config(std::move(json), config.place());
}

/// Published files stack the experts along the rows, `ffn.experts.mlp.w1` [experts * wide, hidden], w2 (down) as [in,
/// out]; mlx-lm's hold them one by one.
void stack(const BlockConfig& c, Weights& weights) {
  const int experts = c.mixture->experts, wide = c.mixture->wide;
  constexpr std::pair<const char*, const char*> kParts[] = {
      {"w1", "gate_proj"}, {"v1", "up_proj"}, {"w2", "down_proj"}};
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const std::string ffn = fmt::format("{}.{}.ffn", c.options.names.layers, layer);
    stack_experts(weights, ffn, ffn + ".switch_mlp", experts, {std::begin(kParts), std::end(kParts)});
    for (const auto& [part, as] : kParts) {
      const std::string name = fmt::format("{}.experts.mlp.{}", ffn, part);
      if (!weights.has(name)) continue;
      mx::array all = weights.take_raw(name);
      if (all.shape() != mx::Shape{experts * wide, c.hidden_size}) {
        weights.note(fmt::format("{} must be [{}, {}]", name, experts * wide, c.hidden_size));
        continue;
      }
      all = mx::reshape(all, {experts, wide, c.hidden_size});
      if (std::string_view(part) == "w2") all = mx::contiguous(mx::swapaxes(all, 1, 2));
      weights.tensors().emplace(fmt::format("{}.switch_mlp.{}.weight", ffn, as), all);
    }
  }
}

}  // namespace

std::unique_ptr<Model> make_dbrx(const Config& config, Weights& weights) {
  const Config attention = config.object("attn_config"), ffn = config.object("ffn_config");
  BlockConfig c = read_block(dbrx_keys(config, attention, ffn), kDbrx);
  const float clip = static_cast<float>(attention.number_or("clip_qkv", 0, 0, 1e9));
  stack(c, weights);
  sanitize_block(c, weights);
  return make_clipped_decoder(c, WeightPath(weights), clip);
}

}  // namespace mlxk
