// Step 3.5 Flash (https://arxiv.org/abs/2602.10604), as mlx-lm computes it: sliding layers have their own number of
// heads, each head has a gate, rope's base and rotated part differ by layer, and the SwiGLU of some layers is clamped,
// with separate limits for experts and the shared expert.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <variant>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"
#include "models/text/tensor_names.h"

namespace mlxk {
namespace {

constexpr BlockOptions kStep{.defaults = {.norm_eps = 1e-5, .tie_word_embeddings = false, .sliding_window = 512},
                             .names = {.attention_gate = "g_proj"},
                             .qk_norm = QkNorm::before_rope,
                             .mixture = true,
                             .experts = {.score = RoutingRule::Score::sigmoid,
                                         .normalise = true,
                                         .eps = 1e-20F,
                                         .router = "mlp.gate.gate",
                                         .shared = "mlp.share_expert",
                                         .selection_bias = "mlp.gate.router_bias"}};

class StepLayer : public DecoderLayer {
 public:
  using Mlp = std::variant<GatedMlpResidual, MixtureResidual>;
  StepLayer(SelfAttention attention, Mlp mlp, int window)
      : attention_(std::move(attention)), mlp_(std::move(mlp)), window_(window) {}

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    const mx::array mid = attention_(x, caches.attention(), in);
    return std::visit([&](const auto& mlp) { return mlp(mid); }, mlp_);
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override { return attention_cache(rows, window_); }

 private:
  SelfAttention attention_;
  Mlp mlp_;
  int window_;
};

/// The entry of a list for `layer`; 0 if the list or entry is missing or null.
double entry(const Config& config, const char* key, int layer, double high) {
  const Json* list = config.find(key);
  if (!list) return 0;
  if (!list->is_array()) throw config.bad(key, "must be a list of numbers");
  if (static_cast<size_t>(layer) >= list->size() || (*list)[static_cast<size_t>(layer)].is_null()) return 0;
  const Json& value = (*list)[static_cast<size_t>(layer)];
  if (!value.is_number() || value.get<double>() < 0 || value.get<double>() > high) {
    throw config.bad(key, fmt::format("must hold numbers from 0 to {}, got {}", high, value.dump()));
  }
  return value.get<double>();
}

/// The mixture layers, from a list such as "3,4,5"; without the key all but the first.
std::vector<bool> read_mixtures(const Config& config, int layers) {
  std::vector<bool> mixes(static_cast<size_t>(layers), !config.has("moe_layers_enum"));
  if (!config.has("moe_layers_enum")) {
    mixes[0] = false;
    return mixes;
  }
  const std::string text = config.text_or("moe_layers_enum", "");
  const char *at = text.data(), *end = at + text.size();
  while (at < end) {
    int layer = -1;
    const auto [next, error] = std::from_chars(at, end, layer);
    if (error != std::errc() || layer < 0 || layer >= layers || (next != end && *next != ',')) {
      throw config.bad("moe_layers_enum", fmt::format("must hold numbers of layers below {}, got '{}'", layers, text));
    }
    mixes[static_cast<size_t>(layer)] = true;
    at = next == end ? end : next + 1;
  }
  return mixes;
}

/// The keys for read_block: the types of all layers, and no rope, which differs from layer to layer.
Config step_keys(const Config& config) {
  Json json = config.json();
  const int64_t layers = config.integer("num_hidden_layers", 1, 1024);
  json["num_key_value_heads"] = config.integer("num_attention_groups", 1, 4096);
  for (const char* key : {"rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor"}) json.erase(key);
  const Json* types = config.find("layer_types");
  if (types && types->is_array() &&
      types->size() > static_cast<size_t>(layers)) {  // of the layers that predict further tokens
    json["layer_types"] = Json(types->begin(), types->begin() + layers);
  } else if (!types) {
    for (int64_t layer = 0; layer < layers; ++layer) {
      json["layer_types"].push_back(layer % 2 == 0 ? "sliding_attention" : "full_attention");
    }
  }
  return Config(std::move(json), config.place());
}

RopeSettings read_rope(const Config& config, const BlockConfig& c, int layer) {
  Json json = Json::object();
  const Json* theta = config.find("rope_theta");
  const double by_layer = theta && theta->is_array() ? entry(config, "rope_theta", layer, 1e12) : 0;
  json["rope_theta"] = by_layer > 0                 ? by_layer
                       : theta && theta->is_array() ? 10000
                                                    : config.number_or("rope_theta", 10000, 1, 1e12);
  if (const double part = entry(config, "partial_rotary_factors", layer, 1); part > 0) {
    json["partial_rotary_factor"] = part;
  }
  if (c.max_position_embeddings > 0) json["max_position_embeddings"] = c.max_position_embeddings;
  const Json* only = config.find("yarn_only_types");
  const char* type = c.slides(layer) ? "sliding_attention" : "full_attention";
  const bool scales = !only || !only->is_array() || only->empty() || std::count(only->begin(), only->end(), type) > 0;
  if (scales && config.has("rope_scaling")) json["rope_scaling"] = config.object("rope_scaling").json();
  return RopeSettings::read(Config(std::move(json), config.place()), c.head_dim, 10000);
}

/// Published files hold norms whose factor is 1 + weight, and the mixture's tensors beside the MLP's.
void turn_published(Weights& weights, const BlockConfig& c) {
  weights.drop([](const std::string& name) { return name.find(".mtp") != std::string::npos; });
  drop_further_layers(c, weights);
  const auto& tensors = weights.tensors();
  const bool published = std::any_of(tensors.begin(), tensors.end(), [](const auto& tensor) {
    return tensor.first.find(".moe.") != std::string::npos ||
           (tensor.first.find(".share_expert.") != std::string::npos &&
            tensor.first.find(".mlp.share_expert.") == std::string::npos);
  });
  if (!published) return;
  rename_tensors(weights, {{".moe.gate_proj.", ".mlp.switch_mlp.gate_proj."},
                           {".moe.up_proj.", ".mlp.switch_mlp.up_proj."},
                           {".moe.down_proj.", ".mlp.switch_mlp.down_proj."},
                           {".moe.gate.", ".mlp.gate.gate."},
                           {".moe.router_bias", ".mlp.gate.router_bias"},
                           {".share_expert.", ".mlp.share_expert."}});
  for (auto& [name, tensor] : weights.tensors()) {
    if (name.ends_with("norm.weight")) tensor = mx::add(tensor, mx::array(1, tensor.dtype()));
  }
}

Activation clamped(double limit) { return Activation(Activation::silu, static_cast<float>(limit)); }

}  // namespace

std::unique_ptr<Model> make_step3p5(const Config& config, Weights& weights) {
  BlockConfig c = read_block(step_keys(config), kStep);
  c.mixture->layers = read_mixtures(config, c.num_hidden_layers);
  if (!config.has("moe_router_scaling_factor")) c.mixture->rule.scale = 3;
  if (!config.flag_or("use_head_wise_attn_gate", true)) c.options.names.attention_gate = nullptr;
  const BlockConfig full = c;
  if (config.has("attention_other_setting")) {
    const Config other = config.object("attention_other_setting");
    c.num_attention_heads = static_cast<int>(other.integer("num_attention_heads", 1, 4096));
    c.num_key_value_heads = static_cast<int>(other.integer("num_attention_groups", 1, 4096));
    if (c.num_attention_heads % c.num_key_value_heads != 0) {
      throw other.bad("num_attention_heads", "must be a multiple of num_attention_groups");
    }
  }
  turn_published(weights, c);
  sanitize_block(c, weights);

  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  ModelShape shape = shape_of(c);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const auto i = static_cast<size_t>(layer);
    const WeightPath path = root / c.options.names.layers / layer, mlp = path / c.options.names.mlp;
    BlockConfig own = c.slides(layer) ? c : full;
    own.ropes[i] = read_rope(config, c, layer);
    shape.position_stable_tokens = std::min(shape.position_stable_tokens, own.ropes[i]->position_stable_tokens());
    const Norm norm = make_norm(c.options.norm, path / c.options.names.mlp_norm, c.hidden_size, c.norm_eps);
    const double limit = entry(config, "swiglu_limits", layer, 1e6);
    const double shared_limit = entry(config, "swiglu_limits_shared", layer, 1e6);
    const auto make_mlp = [&]() -> StepLayer::Mlp {
      if (c.mixes(layer)) {
        MixtureResidual mixture = c.mixture->make(path, norm, c.hidden_size, clamped(limit));
        if (mixture.shared) mixture.shared->mlp.activation = clamped(shared_limit);
        return mixture;
      }
      return GatedMlpResidual{norm,
                              Linear(mlp / "gate_proj", c.hidden_size, c.intermediate_size),
                              Linear(mlp / "up_proj", c.hidden_size, c.intermediate_size),
                              Linear(mlp / "down_proj", c.intermediate_size, c.hidden_size),
                              std::nullopt,
                              clamped(shared_limit)};
    };
    parts.layers.push_back(
        std::make_unique<StepLayer>(make_block_attention(own, layer, path), make_mlp(), c.windows[i]));
  }
  return std::make_unique<Decoder>(std::move(shape), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
