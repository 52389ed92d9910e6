// ERNIE 4.5's mixtures (https://yiyan.baidu.com/blog/publication/ERNIE_Technical_Report.pdf): a bias for the choice as
// in transformers, if the checkpoint holds one; mlx-lm leaves it out.
#include <algorithm>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kErnieMoe{.defaults = {.norm_eps = 1e-5},
                                 .qkv_bias_key = "use_bias",
                                 .out_bias_key = "use_bias",
                                 .mlp_bias_key = "use_bias",
                                 .theta = 5e5,
                                 .traditional = true,
                                 .mixture = true,
                                 .experts = {.normalise = true, .eps = 1e-12F, .shared = "mlp.shared_experts"}};
constexpr const char* kSelectionBias = "mlp.moe_statics.e_score_correction_bias";

/// A property of a layer: the smallest or the largest of the values for text and images.
int layer_number(const Config& config, const char* key, int fallback, bool largest) {
  const Json* list = config.find(key);
  if (!list || !list->is_array()) return static_cast<int>(config.integer_or(key, fallback, -1, 1024));
  std::vector<int> all;
  for (const Json& value : *list) {
    if (!value.is_number_integer()) throw config.bad(key, "must hold numbers of layers");
    all.push_back(value.get<int>());
  }
  if (all.empty()) return fallback;
  return largest ? *std::max_element(all.begin(), all.end()) : *std::min_element(all.begin(), all.end());
}

BlockConfig read_ernie(const Config& config) {
  Json json = config.json();
  if (json.value("moe_intermediate_size", Json()) == 0) json.erase("moe_intermediate_size");
  if (json.contains("moe_gate_act")) json["scoring_func"] = json["moe_gate_act"];
  BlockConfig c = read_block(Config(std::move(json), config.place()), kErnieMoe);
  c.mixture->defaults.expert_bias = c.mixture->defaults.shared_bias = c.mlp_bias;
  const int first = layer_number(config, "moe_layer_start_index", 0, false);
  const int end = layer_number(config, "moe_layer_end_index", -1, true);
  const int last = end < 0 ? c.num_hidden_layers - 1 : end;
  const auto interval = config.integer_or("moe_layer_interval", 1, 1, 1024);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    c.mixture->layers[static_cast<size_t>(layer)] = (layer + 1) % interval == 0 && layer >= first && layer <= last;
  }
  return c;
}

}  // namespace

std::unique_ptr<Model> make_ernie4_5_moe(const Config& config, Weights& weights) {
  BlockConfig c = read_ernie(config);
  weights.drop([](const std::string& name) { return name.find(".mtp_") != std::string::npos; });
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const WeightPath path = WeightPath(weights) / "model" / "layers" / layer;
    if (!c.mixes(layer) || !path.has(kSelectionBias)) continue;
    c.mixture->defaults.selection_bias = kSelectionBias;
    const std::string name = (path / kSelectionBias).path();
    weights.tensors().insert_or_assign(name, mx::flatten(weights.take_raw(name)));
  }
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

}  // namespace mlxk
