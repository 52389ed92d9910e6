// Nemotron-H (https://arxiv.org/abs/2504.03624) and Nemotron 3, as transformers and mlx-lm compute them: every layer is
// either a Mamba-2 mixer, attention without rope, an MLP with squared ReLU, or a mixture of such MLPs, whose experts
// may use a smaller width than the model's.
#include <fmt/format.h>

#include <algorithm>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"
#include "models/text/mamba.h"

namespace mlxk {
namespace {

constexpr BlockOptions kNemotronH{.defaults = {.norm_eps = 1e-5, .tie_word_embeddings = false},
                                  .names = {.embedding = "backbone.embeddings",
                                            .layers = "backbone.layers",
                                            .norm = "backbone.norm_f",
                                            .attention_norm = "norm",
                                            .attention = "mixer"},
                                  .qkv_bias_key = "attention_bias",
                                  .out_bias_key = "attention_bias",
                                  .mlp_bias_key = "mlp_bias",
                                  .rope = false,
                                  .experts = {.score = RoutingRule::Score::sigmoid,
                                              .normalise = true,
                                              .eps = 1e-20F,
                                              .router = "gate",
                                              .experts = "switch_mlp",
                                              .selection_bias = "e_score_correction_bias"}};

class AttentionLayer : public DecoderLayer {
 public:
  explicit AttentionLayer(SelfAttention attention) : attention_(std::move(attention)) {}
  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    return attention_(x, caches.attention(), in);
  }
  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override { return attention_cache(rows); }

 private:
  SelfAttention attention_;
};

class MlpLayer : public DecoderLayer {
 public:
  explicit MlpLayer(MlpResidual mlp) : mlp_(std::move(mlp)) {}
  mx::array operator()(const mx::array& x, const LayerCaches&, const LayerInputs&) const override { return mlp_(x); }
  std::vector<std::unique_ptr<Cache>> make_caches(int) const override { return {}; }

 private:
  MlpResidual mlp_;
};

/// x + latent_out(sum of the chosen experts of latent_in(norm(x))) + the shared expert's output.
class ExpertLayer : public DecoderLayer {
 public:
  ExpertLayer(Norm norm, MixtureResidual mixture, std::optional<Linear> latent_in, std::optional<Linear> latent_out,
              std::optional<MlpResidual> shared)
      : norm_(std::move(norm)),
        mixture_(std::move(mixture)),
        latent_in_(std::move(latent_in)),
        latent_out_(std::move(latent_out)),
        shared_(std::move(shared)) {}

  mx::array operator()(const mx::array& x, const LayerCaches&, const LayerInputs&) const override {
    const mx::array h = norm_(x), rows = mx::reshape(h, {-1, x.shape(-1)});
    const mx::array sum = mixture_.sum_of_experts(latent_in_ ? (*latent_in_)(rows) : rows, rows);
    const mx::array y = mx::add(x, mx::reshape(latent_out_ ? (*latent_out_)(sum) : sum, x.shape()));
    return shared_ ? (*shared_)(h, y) : y;
  }
  std::vector<std::unique_ptr<Cache>> make_caches(int) const override { return {}; }

 private:
  Norm norm_;
  MixtureResidual mixture_;  // without norm and residual
  std::optional<Linear> latent_in_, latent_out_;
  std::optional<MlpResidual> shared_;  // without a norm
};

/// The kind of each layer, a letter as in hybrid_override_pattern: M a Mamba-2 mixer, * attention, - an MLP, E experts.
std::string read_pattern(const Config& config) {
  const auto wrong = [&](const char* key, const Json& value) {
    return config.bad(key,
                      "must name layers by M, *, - and E, or as mamba, attention, mlp and moe, got " + value.dump());
  };
  constexpr std::pair<const char*, char> kWords[] = {
      {"M", 'M'},     {"*", '*'},    {"-", '-'},   {"E", 'E'},   {"linear_attention", 'M'}, {"full_attention", '*'},
      {"mamba", 'M'}, {"conv", 'M'}, {"mlp", '-'}, {"moe", 'E'}, {"attention", '*'}};
  std::string pattern;
  for (const char* key : {"hybrid_override_pattern", "layers_block_type", "layer_types"}) {
    const Json* list = config.find(key);
    if (!list) continue;
    if (list->is_string()) {
      pattern = list->get<std::string>();
      if (pattern.empty() || pattern.find_first_not_of("M*-E") != pattern.npos) throw wrong(key, *list);
      return pattern;
    }
    if (!list->is_array() || list->empty()) throw wrong(key, *list);
    for (const Json& word : *list) {
      const auto* found =
          std::find_if(std::begin(kWords), std::end(kWords), [&](const auto& w) { return word == w.first; });
      if (found == std::end(kWords)) throw wrong(key, word);
      pattern += found->second;
    }
    return pattern;
  }
  throw config.bad("hybrid_override_pattern", "is missing");
}

Config nemotron_keys(const Config& config, const std::string& pattern) {
  Json json = config.json();
  json["num_hidden_layers"] = pattern.size();
  json["hidden_act"] = config.text_or("mlp_hidden_act", "relu2");
  json.erase("layer_types");
  if (!config.has("head_dim") && config.has("attention_head_dim"))
    json["head_dim"] = *config.find("attention_head_dim");
  return Config(std::move(json), config.place());
}

/// transformers 5 names its modules differently: model instead of backbone, and experts in one tensor for each part.
void rename_nemotron(Weights& weights) {
  std::vector<std::pair<std::string, std::string>> renamed;
  for (const auto& [name, tensor] : weights.tensors()) {
    std::string to = name.rfind("model.", 0) == 0 ? "backbone." + name.substr(6) : name;
    for (const auto& [part, as] : {std::pair(".experts.up_proj", ".switch_mlp.fc1.weight"),
                                   std::pair(".experts.down_proj", ".switch_mlp.fc2.weight")}) {
      const std::string end = part;
      if (to.size() > end.size() && to.compare(to.size() - end.size(), end.size(), end) == 0) {
        to.replace(to.size() - end.size(), end.size(), as);
      }
    }
    if (to != name) renamed.emplace_back(name, to);
  }
  for (const auto& [from, to] : renamed) weights.tensors().emplace(to, weights.take_raw(from));
}

MlpResidual make_mlp(const BlockConfig& c, const WeightPath& path, int wide, std::optional<Norm> norm) {
  return {std::move(norm), Linear(path / "up_proj", c.hidden_size, wide, c.mlp_bias),
          Linear(path / "down_proj", wide, c.hidden_size, c.mlp_bias), c.activation};
}

std::unique_ptr<DecoderLayer> make_experts(const Config& config, const BlockConfig& c, const MixtureConfig& m,
                                           const WeightPath& path, Norm norm) {
  const int latent = static_cast<int>(config.integer_or("moe_latent_size", 0, 1, 1 << 20));
  const int in = latent > 0 ? latent : c.hidden_size;
  MixtureResidual mixture{std::nullopt,
                          {Linear(path / "gate", c.hidden_size, m.experts), m.rule},
                          std::nullopt,
                          ExpertLinear(path / "switch_mlp" / "fc1", m.experts, in, m.wide),
                          ExpertLinear(path / "switch_mlp" / "fc2", m.experts, m.wide, in),
                          c.activation};
  mixture.router.selection_bias = mx::astype((path / "gate").take(m.defaults.selection_bias, {m.experts}), mx::float32);
  std::optional<Linear> latent_in, latent_out;
  if (latent > 0) {
    latent_in.emplace(path / "fc1_latent_proj", c.hidden_size, latent, c.mlp_bias);
    latent_out.emplace(path / "fc2_latent_proj", latent, c.hidden_size, c.mlp_bias);
  }
  std::optional<MlpResidual> shared;
  if (config.integer_or("n_shared_experts", 0, 0, 1024) > 0) {
    const auto wide = static_cast<int>(config.integer("moe_shared_expert_intermediate_size", 1, 1 << 20));
    shared = make_mlp(c, path / "shared_experts", wide, std::nullopt);
  }
  return std::make_unique<ExpertLayer>(std::move(norm), std::move(mixture), std::move(latent_in), std::move(latent_out),
                                       std::move(shared));
}

}  // namespace

std::unique_ptr<Model> make_nemotron_h(const Config& config, Weights& weights) {
  const std::string pattern = read_pattern(config);
  BlockConfig c = read_block(nemotron_keys(config, pattern), kNemotronH);
  const char* bias = config.has("mamba_proj_bias") ? "mamba_proj_bias" : "use_bias";
  const Mamba2Config mamba = read_mamba2(
      config, c,
      {"mamba_num_heads", "mamba_head_dim", "n_groups", "ssm_state_size", "conv_kernel", "use_conv_bias", bias, bias});
  std::optional<MixtureConfig> mixture;
  if (pattern.find('E') != pattern.npos) {
    mixture = MixtureConfig::read(config, c.num_hidden_layers, c.options.experts);
  }
  rename_nemotron(weights);
  sanitize_block(c, weights);
  weights.drop([](const std::string& name) { return name.rfind("mtp.", 0) == 0; });
  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const WeightPath path = root / c.options.names.layers / layer, mixer = path / "mixer";
    const auto norm = [&] { return make_norm(c.options.norm, path / "norm", c.hidden_size, c.norm_eps); };
    switch (pattern[static_cast<size_t>(layer)]) {
      case 'M': parts.layers.push_back(mixer_layer(Mamba2Residual(mamba, mixer, norm()))); break;
      case '*': parts.layers.push_back(std::make_unique<AttentionLayer>(make_block_attention(c, layer, path))); break;
      case '-':
        parts.layers.push_back(std::make_unique<MlpLayer>(make_mlp(c, mixer, c.intermediate_size, norm())));
        break;
      case 'E':
        stack_experts(weights, mixer.path(), (mixer / "switch_mlp").path(), mixture->experts,
                      {{"up_proj", "fc1"}, {"down_proj", "fc2"}});
        parts.layers.push_back(make_experts(config, c, *mixture, mixer, norm()));
        break;
    }
  }
  return std::make_unique<Decoder>(shape_of(c), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
