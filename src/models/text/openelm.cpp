// OpenELM (https://arxiv.org/abs/2404.14619): a llama block whose heads and MLP grow from layer to layer, with norms of
// queries and keys.
#include <fmt/format.h>

#include <algorithm>

#include "json/json.h"
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kOpenElm{.defaults = {.intermediate_size = 0},
                                .names = {.embedding = "transformer.token_embeddings",
                                          .layers = "transformer.layers",
                                          .norm = "transformer.norm",
                                          .attention_norm = "attn_norm",
                                          .mlp_norm = "ffn_norm",
                                          .attention = "attn",
                                          .o = "out_proj",
                                          .qkv = "qkv_proj",
                                          .mlp = "ffn",
                                          .down = "proj_2",
                                          .gate_up = "proj_1"},
                                .qk_norm = QkNorm::before_rope,
                                .qk_norm_key = "normalize_qk_projections"};

/// A list of numbers above 0, one a layer.
std::vector<double> by_layer(const Config& config, const char* key, int layers, double high) {
  const Json* list = config.find(key);
  if (!list || !list->is_array() || list->size() != static_cast<size_t>(layers)) {
    throw config.bad(key, fmt::format("must have {} entries", layers));
  }
  std::vector<double> numbers;
  for (const Json& entry : *list) {
    if (!entry.is_number() || !(entry.get<double>() > 0) || entry.get<double>() > high) {
      throw config.bad(key, fmt::format("must hold numbers above 0 and up to {}, got {}", high, entry.dump()));
    }
    numbers.push_back(entry.get<double>());
  }
  return numbers;
}

/// The multiple of `divisor` nearest to `x`, or the next one if that is more than a tenth less.
int divisible(double x, int divisor) {
  const int next = std::max(divisor, static_cast<int>(x + divisor / 2.0) / divisor * divisor);
  return next < 0.9 * x ? next + divisor : next;
}

/// Converts the keys that OpenELM spells differently to the usual ones.
Config openelm_keys(const Config& config) {
  Json json = config.json();
  json["num_attention_heads"] = json["num_key_value_heads"] = 1;  // separate for each layer
  json["rope_theta"] = config.number_or("rope_freq_constant", 10000, 1, 1e12);
  json["tie_word_embeddings"] = config.flag_or("share_input_output_layers", true);
  config.integer("head_dim", 2, 4096);
  return Config(std::move(json), config.place());
}

}  // namespace

std::unique_ptr<Model> make_openelm(const Config& config, Weights& weights) {
  BlockConfig c = read_block(openelm_keys(config), kOpenElm);
  if (!config.flag_or("ffn_with_glu", true)) throw config.bad("ffn_with_glu", "false is not built in");
  const int layers = c.num_hidden_layers;
  const int divisor = static_cast<int>(config.integer("ffn_dim_divisor", 1, 1 << 20));
  const auto queries = by_layer(config, "num_query_heads", layers, 4096);
  const auto keys = by_layer(config, "num_kv_heads", layers, 4096);
  const auto multipliers = by_layer(config, "ffn_multipliers", layers, 1024);
  sanitize_block(c, weights);

  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  for (int layer = 0; layer < layers; ++layer) {
    const auto i = static_cast<size_t>(layer);
    c.num_attention_heads = static_cast<int>(queries[i]);
    c.num_key_value_heads = static_cast<int>(keys[i]);
    if (c.num_key_value_heads < 1 || c.num_attention_heads % c.num_key_value_heads != 0) {
      throw config.bad("num_query_heads", fmt::format("must be a multiple of num_kv_heads in layer {}", layer));
    }
    c.intermediate_size = divisible(multipliers[i] * c.hidden_size, divisor);
    parts.layers.push_back(make_block(c, layer, root / c.options.names.layers / layer));
  }
  return std::make_unique<Decoder>(shape_of(c), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
