// Granite 4 (transformers' granitemoehybrid): Granite's blocks with Mamba-2 mixers instead of most attention, and
// experts beside a shared one, or a plain MLP. Computed as in transformers; mlx-lm norms the scan's output as a whole,
// not by groups, and clips time steps to [0.001, 100] if config.json sets no time_step_limit.
#include <fmt/format.h>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"
#include "models/text/mamba.h"

namespace mlxk {
namespace {

constexpr BlockOptions kGraniteHybrid{.qkv_bias_key = "attention_bias",
                                      .out_bias_key = "attention_bias",
                                      .mlp_bias_key = "mlp_bias",
                                      .granite_scales = true,
                                      .mixer = LayerType::mamba,
                                      .experts = {.score = RoutingRule::Score::softmax_of_chosen,
                                                  .router = "block_sparse_moe.router.layer",
                                                  .experts = "block_sparse_moe.switch_mlp",
                                                  .shared = "shared_mlp"}};

/// transformers 5 writes linear_attention in place of mamba; a model without experts may say 0 of them.
Config granite_keys(const Config& config, const Weights& weights) {
  Json json = config.json();
  if (const Json* types = config.find("layer_types"); types && types->is_array()) {
    for (Json& type : json["layer_types"]) {
      if (type == "linear_attention") type = "mamba";
    }
  }
  if (config.has("shared_intermediate_size")) {
    json["shared_expert_intermediate_size"] = *config.find("shared_intermediate_size");
    const bool published = weights.has("model.layers.0.shared_mlp.input_linear.weight");
    if (published && config.integer_or("num_local_experts", 0, 0, 65536) == 0) {
      json["intermediate_size"] = *config.find("shared_intermediate_size");
    }
  }
  return Config(std::move(json), config.place());
}

constexpr Mamba2Keys kGraniteMamba2{"mamba_n_heads", "mamba_d_head",    "mamba_n_groups",  "mamba_d_state",
                                    "mamba_d_conv",  "mamba_conv_bias", "mamba_proj_bias", "mamba_proj_bias"};

/// Halves of `from`, rows or, of stacks, rows of each expert, as `gate` and `up`; `down` keeps its shape. `whole`:
/// mlx-lm's checkpoints have these tensors as well.
void split_input_linear(Weights& weights, const std::string& from, const std::string& to, bool whole) {
  const auto take = [&](const std::string& name) {
    return whole ? weights.take_to_compute(name) : weights.take_raw(name);
  };
  const auto put = [&](const std::string& name, const mx::array& tensor) {
    if (whole) return weights.compute(name, tensor);
    weights.tensors().emplace(name, tensor);
  };
  for (const char* leaf : {".weight", ".scales", ".biases"}) {
    const std::string both = from + ".input_linear" + leaf, down = from + ".output_linear" + leaf;
    if (weights.has(both)) {
      const mx::array stack = take(both);
      const std::vector<mx::array> halves = mx::split(stack, 2, stack.ndim() == 3 ? 1 : 0);
      put(to + ".gate_proj" + leaf, mx::contiguous(halves[0]));
      put(to + ".up_proj" + leaf, mx::contiguous(halves[1]));
    }
    if (weights.has(down)) put(to + ".down_proj" + leaf, take(down));
  }
}

}  // namespace

std::unique_ptr<Model> make_granitemoehybrid(const Config& published, Weights& weights) {
  const Config config = granite_keys(published, weights);
  const bool mixes = config.integer_or("num_local_experts", 0, 0, 65536) > 0;
  BlockOptions options = kGraniteHybrid;
  options.mixture = mixes;
  options.rope = config.text_or("position_embedding_type", "rope") != "nope";
  BlockConfig c = read_block(config, options);
  if (mixes) c.mixture->wide = c.intermediate_size;
  std::optional<Mamba2Config> mamba;
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const std::string path = fmt::format("model.layers.{}.", layer);
    if (c.layer_types[static_cast<size_t>(layer)] == LayerType::mamba && !mamba)
      mamba = read_mamba2(config, c, kGraniteMamba2);
    split_input_linear(weights, path + "block_sparse_moe", path + "block_sparse_moe.switch_mlp", false);
    const std::string router = path + "block_sparse_moe.router.";
    if (weights.has(router + "weight")) {
      weights.tensors().emplace(router + "layer.weight", weights.take_raw(router + "weight"));
    }
    split_input_linear(weights, path + "shared_mlp", path + (mixes ? "shared_mlp" : "mlp"), mixes);
  }
  sanitize_block(c, weights);
  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const WeightPath path = root / c.options.names.layers / layer;
    if (c.layer_types[static_cast<size_t>(layer)] != LayerType::mamba) {
      parts.layers.push_back(make_block(c, layer, path));
      continue;
    }
    Norm norm = make_norm(c.options.norm, path / c.options.names.attention_norm, c.hidden_size, c.norm_eps);
    Mamba2Residual mixer(*mamba, path / "mamba", std::move(norm), c.residual_multiplier);
    parts.layers.push_back(make_block(c, layer, path, mixer_layer(std::move(mixer))));
  }
  return std::make_unique<Decoder>(shape_of(c), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
