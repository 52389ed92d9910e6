// LFM2 (https://arxiv.org/abs/2511.23404), as transformers and mlx-lm compute it: most layers have a short convolution
// between two gates instead of attention; lfm2_moe has experts chosen by sigmoid after some dense layers.
#include <algorithm>
#include <cmath>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"
#include "nn/causal_conv.h"

namespace mlxk {
namespace {

constexpr BlockNames kLfm2Names{.norm = "model.embedding_norm",
                                .attention_norm = "operator_norm",
                                .mlp_norm = "ffn_norm",
                                .o = "out_proj",
                                .q_norm = "q_layernorm",
                                .k_norm = "k_layernorm",
                                .mlp = "feed_forward"};
constexpr BlockOptions kLfm2{.defaults = {.norm_eps = 1e-5},
                             .names = kLfm2Names,
                             .qk_norm = QkNorm::before_rope,
                             .theta = 1e6,
                             .mixer = LayerType::conv};
constexpr BlockOptions kLfm2Moe{.defaults = {.norm_eps = 1e-5},
                                .names = kLfm2Names,
                                .qk_norm = QkNorm::before_rope,
                                .theta = 1e6,
                                .mixer = LayerType::conv,
                                .mixture = true,
                                .experts = {.score = RoutingRule::Score::sigmoid,
                                            .normalise = true,
                                            .eps = 1e-6F,
                                            .router = "feed_forward.gate",
                                            .experts = "feed_forward.switch_mlp"}};

/// x + out(c · conv(b · x')), where b, c and x' are the thirds of in(norm(x)).
class GatedConv : public DecoderLayer {
 public:
  GatedConv(const BlockConfig& c, int kernel, bool bias, const WeightPath& path)
      : in_{make_norm(c.options.norm, path / "operator_norm", c.hidden_size, c.norm_eps),
            Linear(path / "conv" / "in_proj", c.hidden_size, 3 * c.hidden_size, bias)},
        conv_(path / "conv" / "conv", c.hidden_size, kernel, bias),
        out_{Linear(path / "conv" / "out_proj", c.hidden_size, c.hidden_size, bias)} {}

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    RecurrentCache& cache = caches.recurrent();
    const std::vector<mx::array> parts = mx::split(in_(x), 3, -1);
    const mx::array y = conv_(mx::multiply(parts[0], parts[2]), cache, 0, in.positions);
    cache.advance(in.positions);
    return out_(mx::multiply(parts[1], y), x);
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override { return recurrent_cache(rows, 1); }

 private:
  NormLinear in_;
  CausalConv1d conv_;
  OutResidual out_;
};

/// Converts the keys that LFM2 spells differently to the usual ones.
Config lfm2_keys(const Config& config, bool experts) {
  Json json = config.json();
  const int64_t layers = config.integer("num_hidden_layers", 1, 1024);
  if (!config.has("layer_types") && config.has("full_attn_idxs")) {
    const Json& full = *config.find("full_attn_idxs");
    if (!full.is_array()) throw config.bad("full_attn_idxs", "must be a list");
    for (const Json& layer : full) {
      if (!layer.is_number_unsigned() || layer.get<int64_t>() >= layers) {
        throw config.bad("full_attn_idxs", "must hold numbers of layers, got " + layer.dump());
      }
    }
    json["layer_types"] = Json::array();
    for (int64_t layer = 0; layer < layers; ++layer) {
      const bool attends = std::find(full.begin(), full.end(), layer) != full.end();
      json["layer_types"].push_back(attends ? "full_attention" : "conv");
    }
  }
  if (config.has("tie_embedding")) json["tie_word_embeddings"] = json["tie_embedding"];
  if (experts) {
    json["first_k_dense_replace"] = config.integer_or("num_dense_layers", 2, 0, layers);
    return Config(std::move(json), config.place());
  }
  int64_t wide = config.integer(config.has("block_ff_dim") ? "block_ff_dim" : "intermediate_size", 1, 1 << 20);
  if (config.flag_or("block_auto_adjust_ff_dim", true)) {
    const int64_t multiple = config.integer_or("block_multiple_of", 256, 1, 1 << 20);
    const double factor = config.number_or("block_ffn_dim_multiplier", 1, 1e-3, 1e3);
    wide = static_cast<int64_t>(factor * static_cast<double>(2 * wide / 3));
    wide = (wide + multiple - 1) / multiple * multiple;
  }
  json["intermediate_size"] = wide;
  return Config(std::move(json), config.place());
}

/// Published files name the parts of an MLP w1, w2 and w3, and so do mlx-lm's for a model without experts.
void rename_mlps(Weights& weights, bool mixture) {
  std::vector<std::pair<std::string, std::string>> renamed;
  for (const auto& [name, tensor] : weights.tensors()) {
    for (const auto& [from, to] : {std::pair(".w1.", ".gate_proj."), {".w2.", ".down_proj."}, {".w3.", ".up_proj."}}) {
      const size_t at = name.find(from);
      if (at != std::string::npos) renamed.emplace_back(name, name.substr(0, at) + to + name.substr(at + 4));
    }
  }
  for (const auto& [from, to] : renamed) {
    if (mixture) {
      weights.tensors().emplace(to, weights.take_raw(from));
    } else {
      weights.compute(to, weights.take_to_compute(from));
    }
  }
}

std::unique_ptr<Model> make(const BlockOptions& options, const Config& config, Weights& weights) {
  BlockConfig c = read_block(lfm2_keys(config, options.mixture), options);
  const int kernel = static_cast<int>(config.integer_or("conv_L_cache", 3, 2, 64));
  const bool bias = config.flag_or("conv_bias", false);
  if (c.mixture && config.flag_or("use_expert_bias", true)) {
    c.mixture->defaults.selection_bias = "feed_forward.expert_bias";
  }
  rename_mlps(weights, options.mixture);
  sanitize_block(c, weights);
  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const WeightPath path = root / c.options.names.layers / layer;
    const bool convolves = c.layer_types[static_cast<size_t>(layer)] == LayerType::conv;
    parts.layers.push_back(convolves ? make_block(c, layer, path, std::make_unique<GatedConv>(c, kernel, bias, path))
                                     : make_block(c, layer, path));
  }
  return std::make_unique<Decoder>(shape_of(c), std::move(parts), weights.activation_type());
}

}  // namespace

std::unique_ptr<Model> make_lfm2(const Config& config, Weights& weights) { return make(kLfm2, config, weights); }

std::unique_ptr<Model> make_lfm2_moe(const Config& config, Weights& weights) { return make(kLfm2Moe, config, weights); }

}  // namespace mlxk
