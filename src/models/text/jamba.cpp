// Jamba (https://arxiv.org/abs/2403.19887), as transformers computes it: Mamba mixers with norms of their time steps, b
// and c, attention without rope in every few layers, experts in every few. mlx-lm differs: it normalises the chosen
// experts' weights to a sum of one, and counts the mixture layers from the other end of expert_layer_period.
#include <fmt/format.h>

#include "json/json.h"
#include "models/registry.h"
#include "models/text/block.h"
#include "models/text/mamba.h"

namespace mlxk {
namespace {

constexpr BlockOptions kJamba{
    .names = {.norm = "model.final_layernorm", .mlp_norm = "pre_ff_layernorm", .mlp = "feed_forward"},
    .rope = false,
    .mixer = LayerType::mamba,
    .experts = {.router = "feed_forward.router", .experts = "feed_forward.switch_mlp"}};

/// Spells out the layers' types and their numbers of experts.
Config jamba_keys(const Config& config) {
  Json json = config.json();
  const int64_t layers = config.integer("num_hidden_layers", 1, 1024);
  const Json* types = config.find("layers_block_type");
  if (!types) types = config.find("layer_types");
  json["layer_types"] = types ? *types : Json::array();
  if (!types) {
    const int64_t period = config.integer_or("attn_layer_period", 8, 1, 1024);
    const int64_t offset = config.integer_or("attn_layer_offset", 4, 0, 1024);
    for (int64_t i = 0; i < layers; ++i) json["layer_types"].push_back(i % period == offset ? "attention" : "mamba");
  } else if (types->is_array()) {
    for (Json& type : json["layer_types"]) {
      if (type == "linear_attention") type = "mamba";
    }
  }
  return Config(std::move(json), config.place());
}

void read_mixture(const Config& config, BlockConfig& c) {
  if (config.integer_or("num_experts", 16, 1, 65536) < 2) return;
  c.mixture = MixtureConfig::read(config, c.num_hidden_layers, c.options.experts);
  c.mixture->wide = c.intermediate_size;
  const int64_t period = config.integer_or("expert_layer_period", 2, 1, 1024);
  const int64_t offset = config.integer_or("expert_layer_offset", 1, 0, 1024);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    c.mixture->layers[static_cast<size_t>(layer)] = layer % period == offset;
  }
}

}  // namespace

std::unique_ptr<Model> make_jamba(const Config& published, Weights& weights) {
  const Config config = jamba_keys(published);
  BlockConfig c = read_block(config, kJamba);
  read_mixture(config, c);
  const auto integer_or = [&](const char* key, int fallback, int low, int high) {
    return static_cast<int>(config.integer_or(key, fallback, low, high));
  };
  const MambaConfig mamba{.hidden_size = c.hidden_size,
                          .width = integer_or("mamba_expand", 2, 1, 64) * c.hidden_size,
                          .state_size = integer_or("mamba_d_state", 16, 1, 4096),
                          .kernel = integer_or("mamba_d_conv", 4, 2, 64),
                          .time_step_rank = read_time_step_rank(config, "mamba_dt_rank", c.hidden_size),
                          .conv_bias = config.flag_or("mamba_conv_bias", true),
                          .bias = config.flag_or("mamba_proj_bias", false)};
  sanitize_block(c, weights);
  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const WeightPath path = root / c.options.names.layers / layer, own = path / "mamba";
    if (c.layer_types[static_cast<size_t>(layer)] != LayerType::mamba) {
      parts.layers.push_back(make_block(c, layer, path));
      continue;
    }
    const auto norm = [&](const WeightPath& at, int dims) { return make_norm(c.options.norm, at, dims, c.norm_eps); };
    MambaResidual mixer(mamba, own, norm(path / c.options.names.attention_norm, c.hidden_size),
                        norm(own / "dt_layernorm", mamba.time_step_rank), norm(own / "b_layernorm", mamba.state_size),
                        norm(own / "c_layernorm", mamba.state_size));
    parts.layers.push_back(make_block(c, layer, path, mixer_layer(std::move(mixer))));
  }
  return std::make_unique<Decoder>(shape_of(c), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
