// RecurrentGemma (https://arxiv.org/abs/2404.07839) with Griffin's layers (https://arxiv.org/abs/2402.19427), as
// transformers computes them: a gated linear recurrence in most layers, sliding-window attention in the others. mlx-lm
// norms with an epsilon of 1e-5 within the layers whatever config.json says.
#include <algorithm>
#include <cmath>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"
#include "nn/causal_conv.h"
#include "nn/scan.h"

namespace mlxk {
namespace {

constexpr BlockOptions kRecurrentGemma{.defaults = {.activation = "gelu_pytorch_tanh"},
                                       .names = {.norm = "model.final_norm",
                                                 .attention_norm = "temporal_pre_norm",
                                                 .mlp_norm = "channel_pre_norm",
                                                 .attention = "temporal_block",
                                                 .mlp = "mlp_block"},
                                       .norm = NormKind::rms_plus_one,
                                       .qkv_bias_key = "attention_bias",
                                       .out_bias = true,
                                       .mlp_bias = true,
                                       .head_may_be_absent = true,
                                       .partial_rotary = 0.5,
                                       .mixer = LayerType::linear};

/// A separate linear map for each head.
class HeadLinear {
 public:
  /// Takes `{name}_weight` [heads, in, out] and `{name}_bias` [heads, out].
  HeadLinear(const WeightPath& path, const std::string& name, int heads, int dim)
      : linear_(stacked(path, name), heads, dim, dim, true) {}

  mx::array operator()(const mx::array& x) const {  // [B, L, heads * dim]
    const int heads = linear_.experts();
    const mx::array rows = mx::reshape(x, {-1, heads, x.shape(2) / heads});
    const mx::array ids = mx::broadcast_to(mx::arange(0, heads, mx::uint32), {rows.shape(0), heads});
    return mx::reshape(linear_.of_chosen(rows, ids), x.shape());
  }

 private:
  static WeightPath stacked(const WeightPath& path, const std::string& name) {
    Weights& weights = path.weights();
    for (const char* leaf : {"weight", "bias"}) {
      const std::string from = (path / (name + "_" + leaf)).path();
      if (!weights.has(from)) continue;
      mx::array tensor = weights.take_to_compute(from);
      if (tensor.ndim() == 3) tensor = mx::contiguous(mx::swapaxes(tensor, -1, -2));
      weights.compute((path / name / leaf).path(), tensor);
    }
    return path / name;
  }

  ExpertLinear linear_;
};

/// The gated linear recurrence: h = a · h + sqrt(1 - a²) · gate · x, where a = exp(-8 · softplus(parameter) · other
/// gate).
class RgLru {
 public:
  RgLru(const WeightPath& path, int width, int heads)
      : input_gate_(path, "input_gate", heads, width / heads),
        recurrent_gate_(path, "recurrent_gate", heads, width / heads),
        parameter_(path.take("recurrent_param", {width})) {}

  /// x [B, L, width] → the same; its state has index `index`.
  mx::array operator()(const mx::array& x, RecurrentCache& cache, int index, const Positions& at) const {
    const mx::array pace = mx::logaddexp(parameter_, mx::array(0.0F, parameter_.dtype()));
    const mx::array log_a = mx::multiply(mx::multiply(mx::array(-8.0F, x.dtype()), gate(recurrent_gate_, x)), pace);
    const mx::array a = mx::exp(log_a);
    mx::array scale = mx::sqrt(mx::subtract(mx::array(1.0F, x.dtype()), mx::square(a)));
    if (std::count(at.offsets.begin(), at.offsets.end(), 0) > 0) {
      const mx::array first = mx::equal(mx::expand_dims(at.order(), -1), mx::array(0));
      scale = mx::where(first, mx::array(1.0F, x.dtype()), scale);
    }
    const mx::array in = mx::multiply(mx::multiply(x, gate(input_gate_, x)), scale);
    const Scanned scanned = scan(LinearRecurrence{a, in, cache.state(index), at.lengths});
    cache.set_state(index, scanned.state);
    return scanned.y;
  }

 private:
  static mx::array gate(const HeadLinear& linear, const mx::array& x) {
    return activate(Activation::sigmoid, linear(x));
  }

  HeadLinear input_gate_, recurrent_gate_;
  mx::array parameter_;
};

/// x + out(lru(conv(in(norm(x)))) · gelu(gate(norm(x)))).
class RecurrentMixer : public DecoderLayer {
 public:
  RecurrentMixer(const BlockConfig& c, int width, int kernel, const WeightPath& path)
      : norm_(make_norm(c.options.norm, path / "temporal_pre_norm", c.hidden_size, c.norm_eps)),
        gate_(path / "temporal_block" / "linear_y", c.hidden_size, width, true),
        in_(path / "temporal_block" / "linear_x", c.hidden_size, width, true),
        conv_(path / "temporal_block" / "conv_1d", width, kernel, true),
        lru_(path / "temporal_block" / "rg_lru", width, c.num_attention_heads),
        out_{Linear(path / "temporal_block" / "linear_out", width, c.hidden_size, true)},
        activation_(c.activation) {}

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    RecurrentCache& cache = caches.recurrent();
    const mx::array h = norm_(x);
    const mx::array y = lru_(conv_(in_(h), cache, 0, in.positions), cache, 1, in.positions);
    cache.advance(in.positions);
    return out_(activate_gated(activation_, gate_(h), y), x);
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override { return recurrent_cache(rows, 2); }

 private:
  Norm norm_;
  Linear gate_, in_;
  CausalConv1d conv_;
  RgLru lru_;
  OutResidual out_;
  Activation activation_;
};

/// Spells out the layers' types, and converts the keys that it spells differently.
Config griffin_keys(const Config& config) {
  Json json = config.json();
  const int64_t layers = config.integer("num_hidden_layers", 1, 1024);
  const char* key = config.has("block_types") ? "block_types" : "_block_types";
  const Json* given = config.find(key);
  const Json types = given ? *given : Json::array({"recurrent", "recurrent", "attention"});
  if (!types.is_array() || types.empty()) throw config.bad(key, "must be a list of recurrent and attention");
  json["layer_types"] = Json::array();
  for (int64_t layer = 0; layer < layers; ++layer) {
    const Json& type = types[static_cast<size_t>(layer) % types.size()];
    if (type != "recurrent" && type != "attention") {
      throw config.bad(key, "must hold recurrent and attention, got " + type.dump());
    }
    json["layer_types"].push_back(type == "attention" ? "sliding_attention" : "linear_attention");
  }
  json["sliding_window"] = config.integer("attention_window_size", 1, 1 << 30);
  json["final_logit_softcapping"] = config.number_or("logits_soft_cap", 30, 0, 1e9);
  const int64_t wide = config.integer("intermediate_size", 2, 1 << 21);
  if (wide % 2 != 0) throw config.bad("intermediate_size", "must be even");
  json["intermediate_size"] = wide / 2;
  json.erase("hidden_act");
  return Config(std::move(json), config.place());
}

}  // namespace

std::unique_ptr<Model> make_recurrent_gemma(const Config& config, Weights& weights) {
  BlockConfig c = read_block(griffin_keys(config), kRecurrentGemma);
  const int width = static_cast<int>(config.integer_or("lru_width", c.hidden_size, 1, 1 << 20));
  const int kernel = static_cast<int>(config.integer_or("conv1d_width", 4, 2, 64));
  if (width % c.num_attention_heads != 0) {
    throw config.bad("lru_width", "must be a multiple of num_attention_heads, got " + std::to_string(width));
  }
  if (config.flag_or("embeddings_scale_by_sqrt_dim", true)) {
    c.embedding_multiplier = bfloat16_next_to(std::sqrt(static_cast<float>(c.hidden_size)));
  }
  c.tie_word_embeddings = !weights.has("lm_head.weight");
  sanitize_block(c, weights);
  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const WeightPath path = root / c.options.names.layers / layer;
    parts.layers.push_back(c.slides(layer)
                               ? make_block(c, layer, path)
                               : make_block(c, layer, path, std::make_unique<RecurrentMixer>(c, width, kernel, path)));
  }
  return std::make_unique<Decoder>(shape_of(c), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
