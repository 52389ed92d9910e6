// OLMo Hybrid, as transformers and mlx-lm compute it: three layers of Gated DeltaNet (https://arxiv.org/abs/2412.06464)
// for each one of attention. The former have norms before their sublayers, the latter after them, like OLMo 2.
#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"
#include "nn/causal_conv.h"
#include "nn/gated_delta.h"
#include "nn/norm_linears.h"

namespace mlxk {
namespace {

constexpr BlockOptions kDeltaLayers{.defaults = {.tie_word_embeddings = false},
                                    .qkv_bias_key = "attention_bias",
                                    .out_bias_key = "attention_bias",
                                    .qk_norm = QkNorm::before_rope,
                                    .qk_norm_whole = true,
                                    .mixer = LayerType::linear};
constexpr BlockNames kAttentionLayers{.attention_norm = nullptr,
                                      .attention_post_norm = "post_attention_layernorm",
                                      .mlp_norm = nullptr,
                                      .mlp_post_norm = "post_feedforward_layernorm"};
constexpr float kOutNormEps = 1e-5F;

class DeltaMixer : public DecoderLayer {
 public:
  DeltaMixer(const Config& config, const BlockConfig& block, const WeightPath& layer)
      : DeltaMixer(dims_of(config, block), static_cast<int>(config.integer_or("linear_conv_kernel_dim", 4, 2, 64)),
                   block, layer, layer / "linear_attn") {}

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    RecurrentCache& cache = caches.recurrent();
    const std::vector<mx::array> parts = in_(x);
    const auto convolved = [&](int i) { return convs_[static_cast<size_t>(i)](parts[i], cache, i, in.positions); };
    const mx::array q = convolved(0), k = convolved(1), v = convolved(2);
    const mx::array y = delta_({q, k, v, parts[3], parts[4]}, cache, 3, in.positions);
    cache.advance(in.positions);
    const mx::array normed = mx::flatten(norm_(mx::unflatten(y, -1, {-1, value_dim_})), -2, -1);
    return out_(mx::multiply(normed, activate(Activation::silu, parts[5])), x);
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override { return recurrent_cache(rows, 4); }

 private:
  DeltaMixer(const GatedDelta::Dims& d, int kernel, const BlockConfig& block, const WeightPath& layer,
             const WeightPath& path)
      : value_dim_(d.value_dim),
        in_{make_norm(block.options.norm, layer / block.options.names.attention_norm, block.hidden_size,
                      block.norm_eps),
            {}},
        delta_(path, d),
        norm_(path / "o_norm", d.value_dim, kOutNormEps),
        out_{Linear(path / "o_proj", d.value_heads * d.value_dim, block.hidden_size)} {
    const int keys = d.key_heads * d.key_dim, values = d.value_heads * d.value_dim;
    const std::pair<const char*, int> maps[] = {{"q_proj", keys},          {"k_proj", keys},
                                                {"v_proj", values},        {"a_proj", d.value_heads},
                                                {"b_proj", d.value_heads}, {"g_proj", values}};
    for (const auto& [name, out] : maps) in_.linears.emplace_back(path / name, block.hidden_size, out);
    for (const auto& [name, channels] : {std::pair("q_conv1d", keys), {"k_conv1d", keys}, {"v_conv1d", values}}) {
      convs_.emplace_back(path / name, channels, kernel, false, Activation(Activation::silu));
    }
  }

  static GatedDelta::Dims dims_of(const Config& config, const BlockConfig& c) {
    const auto size = [&](const char* key, int fallback) {
      return static_cast<int>(config.integer_or(key, fallback, 1, 4096));
    };
    GatedDelta::Dims d{};
    d.key_heads = size("linear_num_key_heads", c.num_attention_heads);
    d.value_heads = size("linear_num_value_heads", c.num_attention_heads);
    d.key_dim = size("linear_key_head_dim", std::max(1, 3 * c.hidden_size / (4 * d.key_heads)));
    d.value_dim = size("linear_value_head_dim", 2 * d.key_dim);
    d.beta_scale = config.flag_or("linear_allow_neg_eigval", true) ? 2.0F : 1.0F;
    if (d.value_heads % d.key_heads != 0) {
      throw config.bad("linear_num_value_heads", "must be a multiple of linear_num_key_heads");
    }
    return d;
  }

  int value_dim_;
  NormLinears in_;  // q, k, v, the decay's, beta's, the gate
  std::vector<CausalConv1d> convs_;
  GatedDelta delta_;
  RmsNorm norm_;
  OutResidual out_;
};

/// Without `layer_types` every fourth layer is attention. A rope_theta of null means no rope.
Config olmo_hybrid_keys(const Config& config) {
  Json json = config.json();
  if (!config.has("layer_types")) {
    json["layer_types"] = Json::array();
    const int64_t layers = config.integer("num_hidden_layers", 1, 1024);
    for (int64_t layer = 0; layer < layers; ++layer) {
      json["layer_types"].push_back(layer % 4 == 3 ? "full_attention" : "linear_attention");
    }
  }
  return Config(std::move(json), config.place());
}

bool rotates(const Config& config) {
  const Json& place = config.has("rope_parameters") ? *config.find("rope_parameters") : config.json();
  return !place.contains("rope_theta") || !place["rope_theta"].is_null();
}

}  // namespace

std::unique_ptr<Model> make_olmo_hybrid(const Config& given, Weights& weights) {
  const Config config = olmo_hybrid_keys(given);
  BlockConfig deltas = read_block(config, kDeltaLayers);
  if (!rotates(config)) deltas.ropes.assign(deltas.ropes.size(), std::nullopt);
  BlockConfig attends = deltas;
  attends.options.names = kAttentionLayers;
  sanitize_block(deltas, weights);

  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(deltas, root);
  for (int layer = 0; layer < deltas.num_hidden_layers; ++layer) {
    const WeightPath path = root / deltas.options.names.layers / layer;
    if (deltas.layer_types[static_cast<size_t>(layer)] == LayerType::linear) {
      parts.layers.push_back(make_block(deltas, layer, path, std::make_unique<DeltaMixer>(config, deltas, path)));
    } else {
      parts.layers.push_back(make_block(attends, layer, path));
    }
  }
  return std::make_unique<Decoder>(shape_of(deltas), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
