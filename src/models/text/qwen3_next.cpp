// Qwen3-Next (https://qwen.ai/blog?id=qwen3-next) and Qwen 3.5: three layers of Gated DeltaNet
// (https://arxiv.org/abs/2412.06464) for each one of attention, whose output has a gate. Computed as mlx-lm and
// transformers do; `layer_types` counts, which mlx-lm leaves out.
#include <fmt/format.h>

#include <algorithm>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"
#include "models/text/language_model.h"
#include "nn/causal_conv.h"
#include "nn/gated_delta.h"
#include "nn/norm_linears.h"

namespace mlxk {
namespace {

constexpr BlockOptions kQwen3Next{
    .defaults = {.intermediate_size = 0, .tie_word_embeddings = false},
    .qkv_bias_key = "attention_bias",
    .out_bias_key = "attention_bias",
    .gate_in_q = true,
    .qk_norm = QkNorm::before_rope,
    .theta = 1e5,
    .partial_rotary = 0.25,
    .mixer = LayerType::linear,
    .mixture = true,
    .experts = {.normalise = true, .shared = "mlp.shared_expert", .shared_gate = "mlp.shared_expert_gate"}};

struct GatedDeltaConfig {
  GatedDelta::Dims dims;
  int kernel;

  explicit GatedDeltaConfig(const Config& config)
      : dims{size(config, "linear_num_key_heads"), size(config, "linear_num_value_heads"),
             size(config, "linear_key_head_dim"), size(config, "linear_value_head_dim")},
        kernel(static_cast<int>(config.integer_or("linear_conv_kernel_dim", 4, 2, 64))) {
    if (dims.value_heads % dims.key_heads != 0) {
      throw config.bad(
          "linear_num_value_heads",
          fmt::format("must be a multiple of linear_num_key_heads, got {} and {}", dims.value_heads, dims.key_heads));
    }
  }

  int keys() const { return dims.key_heads * dims.key_dim; }
  int values() const { return dims.value_heads * dims.value_dim; }

 private:
  static int size(const Config& config, const char* key) { return static_cast<int>(config.integer(key, 1, 4096)); }
};

/// The input projections: q, k and v in one, z (the gate), b (beta) and a (decay).
std::vector<Linear> projections(const GatedDeltaConfig& c, int hidden, const WeightPath& path) {
  const int qkv = 2 * c.keys() + c.values(), heads = c.dims.value_heads;
  if (!path.has("in_proj_qkvz.weight")) {
    return {{path / "in_proj_qkv", hidden, qkv},
            {path / "in_proj_z", hidden, c.values()},
            {path / "in_proj_b", hidden, heads},
            {path / "in_proj_a", hidden, heads}};
  }
  std::vector<Linear> all = Linear(path / "in_proj_qkvz", hidden, qkv + c.values()).split({qkv, c.values()});
  for (Linear& part : Linear(path / "in_proj_ba", hidden, 2 * heads).split({heads, heads})) {
    all.push_back(std::move(part));
  }
  return all;
}

class GatedDeltaNet : public DecoderLayer {
 public:
  GatedDeltaNet(const BlockConfig& block, const GatedDeltaConfig& c, const WeightPath& layer)
      : GatedDeltaNet(block, c, layer, layer / "linear_attn") {}

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    RecurrentCache& cache = caches.recurrent();
    const std::vector<mx::array> parts = in_(x);
    const mx::array qkv = conv_(parts[0], cache, 0, in.positions);
    const auto part = [&](int begin, int end) { return mx::slice(qkv, {0, 0, begin}, {x.shape(0), x.shape(1), end}); };
    const int keys = c_.keys();
    const mx::array y = delta_({part(0, keys), part(keys, 2 * keys), part(2 * keys, qkv.shape(2)), parts[3], parts[2]},
                               cache, 1, in.positions);
    cache.advance(in.positions);
    const mx::array normed = mx::flatten(norm_(mx::unflatten(y, -1, {-1, c_.dims.value_dim})), -2, -1);
    return out_(mx::multiply(normed, activate(Activation::silu, parts[1])), x);
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override { return recurrent_cache(rows, 2); }

 private:
  GatedDeltaNet(const BlockConfig& block, const GatedDeltaConfig& c, const WeightPath& layer, const WeightPath& path)
      : c_(c),
        in_{make_norm(block.options.norm, layer / block.options.names.attention_norm, block.hidden_size,
                      block.norm_eps),
            projections(c, block.hidden_size, path)},
        conv_(path / "conv1d", 2 * c.keys() + c.values(), c.kernel, false, block.activation),
        delta_(path, c.dims),
        norm_(path / "norm", c.dims.value_dim, block.norm_eps),
        out_{Linear(path / "out_proj", c.values(), block.hidden_size)} {}

  GatedDeltaConfig c_;
  NormLinears in_;
  CausalConv1d conv_;
  GatedDelta delta_;
  RmsNorm norm_;
  OutResidual out_;
};

/// Reorders the rows of Qwen3-Next's matrices, which hold for each key head its q, k, v and z (b and a), to Qwen 3.5's
/// order: all of q, then all of k, and so on.
void order_rows(const std::string& path, int groups, const std::vector<int>& sizes, Weights& weights) {
  if (!weights.has(path + ".weight")) return;
  std::vector<int> rows;
  int group = 0, first = 0;
  for (const int size : sizes) group += size;
  for (const int size : sizes) {
    for (int g = 0; g < groups; ++g) {
      for (int i = 0; i < size; ++i) rows.push_back(g * group + first + i);
    }
    first += size;
  }
  const mx::array order(rows.begin(), {static_cast<int>(rows.size())}, mx::int32);
  for (const char* leaf : {".weight", ".scales", ".biases"}) {
    const auto found = weights.tensors().find(path + leaf);
    if (found == weights.tensors().end()) continue;
    if (found->second.ndim() != 2 || found->second.shape(0) != order.shape(0)) {
      weights.note(fmt::format("{}{} must have {} rows", path, leaf, order.shape(0)));
      continue;
    }
    weights.compute(path + leaf, mx::take(weights.take_to_compute(path + leaf), order, 0));
  }
}

bool ends_with_one_of(const std::string& name, std::initializer_list<const char*> ends) {
  return std::any_of(ends.begin(), ends.end(), [&](const char* end) { return name.ends_with(end); });
}

/// transformers' files, recognised by their convolutions [channels, 1, kernel], hold norms whose factor is 1 + weight;
/// in MLX's files the 1 is added already.
void add_one_to_norms(Weights& weights) {
  auto& tensors = weights.tensors();
  const bool untouched = std::any_of(tensors.begin(), tensors.end(), [](const auto& entry) {
    return entry.first.ends_with(".conv1d.weight") && entry.second.ndim() == 3 && entry.second.shape(2) != 1;
  });
  if (!untouched) return;
  for (auto& [name, tensor] : tensors) {
    if (ends_with_one_of(name, {".input_layernorm.weight", ".post_attention_layernorm.weight", "model.norm.weight",
                                ".q_norm.weight", ".k_norm.weight"})) {
      tensor = mx::add(tensor, mx::array(1.0F, tensor.dtype()));
    }
  }
}

/// config.json with the `layer_types` that full_attention_interval implies.
Config with_full_attention_layers(const Config& config) {
  if (config.has("layer_types")) return config;
  const int64_t layers = config.integer("num_hidden_layers", 1, 1024);
  const int64_t interval = config.integer_or("full_attention_interval", 4, 1, 1024);
  Json json = config.json();
  json["layer_types"] = Json::array();
  for (int64_t layer = 0; layer < layers; ++layer) {
    json["layer_types"].push_back((layer + 1) % interval == 0 ? "full_attention" : "linear_attention");
  }
  return Config(std::move(json), config.place());
}

std::unique_ptr<Model> make_qwen3_next_decoder(const Config& given, Weights& weights) {
  const Config config = with_full_attention_layers(given);
  BlockOptions options = kQwen3Next;
  options.mixture = config.integer_or("num_experts", 0, 0, 65536) > 0;
  if (!options.mixture) options.defaults.intermediate_size.reset();
  options.gate_in_q = config.flag_or("attn_output_gate", true);
  BlockConfig c = read_block(config, options);
  const GatedDeltaConfig delta(config);
  weights.drop([](const std::string& name) { return name.starts_with("mtp."); });
  add_one_to_norms(weights);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const std::string path = fmt::format("model.layers.{}.", layer);
    const int shared = delta.dims.value_heads / delta.dims.key_heads, values = shared * delta.dims.value_dim;
    order_rows(path + "linear_attn.in_proj_qkvz", delta.dims.key_heads,
               {delta.dims.key_dim, delta.dims.key_dim, values, values}, weights);
    order_rows(path + "linear_attn.in_proj_ba", delta.dims.key_heads, {shared, shared}, weights);
  }
  sanitize_block(c, weights);

  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const WeightPath path = root / c.options.names.layers / layer;
    const bool attends = c.layer_types[static_cast<size_t>(layer)] != LayerType::linear;
    parts.layers.push_back(attends ? make_block(c, layer, path)
                                   : make_block(c, layer, path, std::make_unique<GatedDeltaNet>(c, delta, path)));
  }
  return std::make_unique<Decoder>(shape_of(c), std::move(parts), weights.activation_type());
}

}  // namespace

std::unique_ptr<Model> make_qwen3_next(const Config& config, Weights& weights) {
  return make_qwen3_next_decoder(config, weights);
}

std::unique_ptr<Model> make_qwen3_5(const Config& config, Weights& weights) {
  return make_qwen3_next_decoder(keep_language_model(config, weights), weights);
}
std::unique_ptr<Model> make_qwen3_5_text(const Config& config, Weights& weights) {
  return make_qwen3_5(config, weights);
}
std::unique_ptr<Model> make_qwen3_5_moe(const Config& config, Weights& weights) {
  return make_qwen3_5(config, weights);
}
std::unique_ptr<Model> make_qwen3_5_moe_text(const Config& config, Weights& weights) {
  return make_qwen3_5(config, weights);
}

}  // namespace mlxk
