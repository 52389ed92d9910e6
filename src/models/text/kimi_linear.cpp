// Kimi Linear (https://arxiv.org/abs/2510.26692), as mlx-lm and transformers compute it: layers of Kimi Delta
// Attention, a gated delta rule with a decay for each number of a key, between layers of latent attention without
// positions.
#include <fmt/format.h>

#include <algorithm>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/latent_config.h"
#include "nn/causal_conv.h"
#include "nn/gated_delta.h"
#include "nn/norm_linears.h"

namespace mlxk {
namespace {

constexpr BlockOptions kKimiLinear{.defaults = {.norm_eps = 1e-5, .tie_word_embeddings = false},
                                   .rope = false,
                                   .mixer = LayerType::linear,
                                   .mixture = true,
                                   .experts = {.score = RoutingRule::Score::sigmoid,
                                               .normalise = true,
                                               .eps = 1e-20F,
                                               .shared = "mlp.shared_experts",
                                               .selection_bias = "mlp.e_score_correction_bias"}};

struct KdaConfig {
  int heads, head_dim, kernel;

  explicit KdaConfig(const Config& config)
      : heads(static_cast<int>(config.integer("num_heads", 1, 4096))),
        head_dim(static_cast<int>(config.integer("head_dim", 1, 4096))),
        kernel(static_cast<int>(config.integer_or("short_conv_kernel_size", 4, 2, 64))) {}

  int wide() const { return heads * head_dim; }
};

/// Kimi Delta Attention: q, k and v each pass a convolution; decay and output gate are low-rank.
class DeltaAttention : public DecoderLayer {
 public:
  DeltaAttention(const BlockConfig& block, const KdaConfig& c, const WeightPath& layer)
      : DeltaAttention(block, c, layer, layer / block.options.names.attention) {}

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    RecurrentCache& cache = caches.recurrent();
    const std::vector<mx::array> parts = in_(x);
    const auto convolved = [&](int i) { return convs_[static_cast<size_t>(i)](parts[i], cache, i, in.positions); };
    const mx::array q = convolved(0), k = convolved(1), v = convolved(2);
    const mx::array y = delta_({q, k, v, decay_(parts[4]), parts[3]}, cache, 3, in.positions);
    cache.advance(in.positions);
    const mx::array normed = mx::flatten(norm_(mx::unflatten(y, -1, {-1, head_dim_})), -2, -1);
    return out_(mx::multiply(normed, activate(Activation::sigmoid, gate_(parts[5]))), x);
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override { return recurrent_cache(rows, 4); }

 private:
  DeltaAttention(const BlockConfig& block, const KdaConfig& c, const WeightPath& layer, const WeightPath& path)
      : head_dim_(c.head_dim),
        in_{make_norm(block.options.norm, layer / block.options.names.attention_norm, block.hidden_size,
                      block.norm_eps),
            {}},
        delta_(path, {c.heads, c.heads, c.head_dim, c.head_dim, true}),
        decay_(path / "f_b_proj", c.head_dim, c.wide()),
        gate_(path / "g_b_proj", c.head_dim, c.wide()),
        norm_(path / "o_norm", c.head_dim, block.norm_eps),
        out_{Linear(path / "o_proj", c.wide(), block.hidden_size)} {
    const std::pair<const char*, int> maps[] = {{"q_proj", c.wide()},     {"k_proj", c.wide()},
                                                {"v_proj", c.wide()},     {"b_proj", c.heads},
                                                {"f_a_proj", c.head_dim}, {"g_a_proj", c.head_dim}};
    for (const auto& [name, out] : maps) in_.linears.emplace_back(path / name, block.hidden_size, out);
    for (const char* name : {"q_conv", "k_conv", "v_conv"}) {
      convs_.emplace_back(path / name / "conv", c.wide(), c.kernel, false, Activation(Activation::silu));
    }
  }

  int head_dim_;
  NormLinears in_;  // q, k, v, beta, and the inputs of decay_ and gate_
  std::vector<CausalConv1d> convs_;
  GatedDelta delta_;
  Linear decay_, gate_;
  RmsNorm norm_;
  OutResidual out_;
};

/// Converts the keys that Kimi Linear spells differently to the usual ones.
Config kimi_keys(const Config& config) {
  const int64_t layers = config.integer("num_hidden_layers", 1, 1024);
  Json json = config.json();
  for (const auto& [own, usual] : {std::pair("num_experts_per_token", "num_experts_per_tok"),
                                   {"moe_renormalize", "norm_topk_prob"},
                                   {"moe_router_activation_func", "scoring_func"},
                                   {"num_expert_group", "n_group"},
                                   {"model_max_length", "max_position_embeddings"},
                                   {"head_dim", "qk_nope_head_dim"},
                                   {"head_dim", "v_head_dim"}}) {
    if (config.has(own) && !config.has(usual)) json[usual] = json[own];
  }
  const Config linear = config.object("linear_attn_config");
  const Json* list = linear.find("kda_layers");
  if (!list || !list->is_array()) throw config.bad("linear_attn_config.kda_layers", "must be a list of layers");
  json["layer_types"] = Json::array();
  for (int64_t layer = 0; layer < layers; ++layer) json["layer_types"].push_back("full_attention");
  for (const Json& number : *list) {  // counted from 1
    if (!number.is_number_unsigned() || number.get<int64_t>() < 1 || number.get<int64_t>() > layers) {
      throw config.bad("linear_attn_config.kda_layers",
                       fmt::format("must hold numbers of layers up to {}, got {}", layers, number.dump()));
    }
    json["layer_types"][number.get<size_t>() - 1] = "linear_attention";
  }
  return Config(std::move(json), config.place());
}

/// Published files call a mixture `block_sparse_moe`, its parts w1, w2 and w3, and the convolutions `q_conv1d`.
void rename_kimi(Weights& weights) {
  Weights::Tensors renamed;
  for (auto& [name, tensor] : weights.tensors()) {
    std::string usual = name;
    for (const auto& [from, to] : {std::pair<std::string_view, std::string_view>(".block_sparse_moe.", ".mlp."),
                                   {".gate.e_score_correction_bias", ".e_score_correction_bias"},
                                   {".w1.weight", ".gate_proj.weight"},
                                   {".w2.weight", ".down_proj.weight"},
                                   {".w3.weight", ".up_proj.weight"},
                                   {"_conv1d.weight", "_conv.conv.weight"}}) {
      if (const size_t at = usual.find(from); at != std::string::npos) usual.replace(at, from.size(), to);
    }
    if (usual.ends_with(".dt_bias")) tensor = mx::flatten(tensor);
    renamed.emplace(std::move(usual), std::move(tensor));
  }
  weights.tensors() = std::move(renamed);
}

/// A_log is [1, 1, heads, 1] in all files.
void flatten_rate(const std::string& name, Weights& weights) {
  if (weights.has(name)) weights.compute(name, mx::flatten(weights.take_to_compute(name)));
}

}  // namespace

std::unique_ptr<Model> make_kimi_linear(const Config& given, Weights& weights) {
  const Config config = kimi_keys(given);
  LatentConfig latent = LatentConfig::read(config);
  BlockOptions options = kKimiLinear;
  options.mixture = config.integer_or("num_experts", 0, 0, 65536) > 0;
  BlockConfig c = read_latent_block(config, latent, options);
  latent.norm_eps = c.norm_eps;
  if (c.mixture && c.mixture->rule.top_k == 1) c.mixture->rule.normalise = false;
  const KdaConfig delta(config.object("linear_attn_config"));
  weights.drop([](const std::string& name) { return name.starts_with("model.mtp"); });
  rename_kimi(weights);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const std::string attention = fmt::format("model.layers.{}.self_attn", layer);
    latent.split_kv_b(c, weights, attention, true);
    flatten_rate(attention + ".A_log", weights);
  }
  sanitize_block(c, weights);

  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const WeightPath path = root / c.options.names.layers / layer;
    const bool attends = c.layer_types[static_cast<size_t>(layer)] != LayerType::linear;
    parts.layers.push_back(make_block(
        c, layer, path, attends ? latent.mixer(c, layer, path) : std::make_unique<DeltaAttention>(c, delta, path)));
  }
  return std::make_unique<Decoder>(shape_of(c), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
