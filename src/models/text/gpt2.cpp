// GPT-2 (https://openai.com/index/better-language-models) and StarCoder (https://arxiv.org/abs/2305.06161),
// transformers' gpt_bigcode: learned positions, layer norms, biases everywhere. StarCoder's queries share one head of
// keys and values; if they do not, queries, keys and values are stored head by head, as in transformers (mlx-lm splits
// them as if they were stacked).
#include <fmt/format.h>

#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions options(const char* activation) {
  return {.defaults = {.intermediate_size = 0, .norm_eps = 1e-5, .activation = activation},
          .names = {.embedding = "transformer.wte",
                    .positions = "transformer.wpe",
                    .layers = "transformer.h",
                    .norm = "transformer.ln_f",
                    .attention_norm = "ln_1",
                    .mlp_norm = "ln_2",
                    .attention = "attn",
                    .o = "c_proj",
                    .qkv = "c_attn",
                    .up = "c_fc",
                    .down = "c_proj"},
          .norm = NormKind::layer,
          .qkv_bias_key = "attention_bias",
          .out_bias_key = "attention_bias",
          .mlp_bias_key = "mlp_bias",
          .qkv_bias = true,
          .out_bias = true,
          .mlp_bias = true,
          .gated = false,
          .rope = false};
}

BlockConfig read(const Config& config, const BlockOptions& options) {
  BlockConfig c = read_block(config, options);
  if (c.intermediate_size == 0) c.intermediate_size = 4 * c.hidden_size;
  if (c.max_position_embeddings == 0) throw config.bad("n_positions", "is missing");
  if (!config.flag_or("scale_attn_weights", true)) throw config.bad("scale_attn_weights", "false is not built in");
  if (config.flag_or("scale_attn_by_inverse_layer_idx", false)) {
    throw config.bad("scale_attn_by_inverse_layer_idx", "true is not built in");
  }
  return c;
}

std::unique_ptr<Model> make_gpt2_model(BlockConfig c, Weights& weights) {
  weights.drop([](const std::string& name) {  // the causal mask of old files
    return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
  });
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

/// Published files hold GPT-2's matrices as [in, out], under names that begin with `h.` or `transformer.h.`; mlx-lm's,
/// which begin with `model.`, as [out, in].
void turn_published(Weights& weights) {
  Weights::Tensors turned;
  for (auto& [name, tensor] : weights.tensors()) {
    std::string_view rest = name;
    const bool published = !rest.starts_with("model.");
    constexpr std::string_view kPrefix = "transformer.";
    if (rest.starts_with(kPrefix)) rest.remove_prefix(kPrefix.size());
    const bool matrix = rest.starts_with("h.") && rest.ends_with(".weight") && tensor.ndim() == 2;
    const bool own = published && !rest.starts_with("lm_head.");
    turned.emplace(own ? fmt::format("model.{}", rest) : name, matrix ? mx::contiguous(mx::transpose(tensor)) : tensor);
  }
  weights.tensors() = std::move(turned);
}

}  // namespace

std::unique_ptr<Model> make_gpt2(const Config& config, Weights& weights) {
  BlockConfig c = read(config, options("gelu_new"));
  BlockNames& names = c.options.names;
  names.embedding = "model.wte";
  names.positions = "model.wpe";
  names.layers = "model.h";
  names.norm = "model.ln_f";
  turn_published(weights);
  return make_gpt2_model(std::move(c), weights);
}

std::unique_ptr<Model> make_gpt_bigcode(const Config& config, Weights& weights) {
  BlockConfig c = read(config, options("gelu"));
  const bool shared = config.flag_or("multi_query", true);
  c.num_key_value_heads = shared ? 1 : c.num_attention_heads;
  c.options.qkv_by_groups = !shared;
  return make_gpt2_model(std::move(c), weights);
}

}  // namespace mlxk
