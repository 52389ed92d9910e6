// Mamba (https://arxiv.org/abs/2312.00752), Falcon Mamba (https://arxiv.org/abs/2410.05355), which norms time steps, b
// and c, and Mamba-2 (https://arxiv.org/abs/2405.21060): a norm and a mixer per layer, no MLP. Computed as in
// transformers; mlx-lm norms Mamba-2's scan output as a whole, not by groups.
#include "models/text/mamba.h"

#include <fmt/format.h>

#include <limits>

#include "json/json.h"
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kMamba{
    .defaults = {.num_attention_heads = 1, .intermediate_size = 0, .norm_eps = 1e-5},
    .names = {.embedding = "backbone.embeddings", .layers = "backbone.layers", .norm = "backbone.norm_f"},
    .rope = false};

template <class Mixer>
class MixerLayer : public DecoderLayer {
 public:
  explicit MixerLayer(Mixer mixer) : mixer_(std::move(mixer)) {}

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    return mixer_(x, caches.recurrent(), in);
  }
  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override {
    return recurrent_cache(rows, Mixer::kStates);
  }

 private:
  Mixer mixer_;
};

int integer(const Config& config, std::initializer_list<const char*> keys, int low, int high) {
  return static_cast<int>(config.integer(config.present(keys), low, high));
}

/// time_step_limit, two numbers.
void read_time_step_limit(const Config& config, Mamba2Config& c) {
  c.dt_min = 0;
  c.dt_max = std::numeric_limits<float>::infinity();
  const Json* limit = config.find("time_step_limit");
  if (!limit) return;
  const auto wrong = [&] { return config.bad("time_step_limit", "must be two numbers, got " + limit->dump()); };
  if (!limit->is_array() || limit->size() != 2 || !(*limit)[0].is_number()) throw wrong();
  c.dt_min = (*limit)[0].get<float>();
  const Json& most = (*limit)[1];  // infinity may be written as an object, {"__float__": "Infinity"}
  if (most.is_number()) c.dt_max = most.get<float>();
  if ((!most.is_number() && !most.is_object()) || !(c.dt_min >= 0 && c.dt_min <= c.dt_max)) throw wrong();
}

/// `layer` makes each of the layers, at its path.
template <class Layer>
std::unique_ptr<Model> make(BlockConfig& c, Weights& weights, const Layer& layer) {
  sanitize_block(c, weights);
  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  for (int i = 0; i < c.num_hidden_layers; ++i) {
    const WeightPath path = root / c.options.names.layers / i;
    parts.layers.push_back(layer(path / "mixer", make_norm(c.options.norm, path / "norm", c.hidden_size, c.norm_eps)));
  }
  return std::make_unique<Decoder>(shape_of(c), std::move(parts), weights.activation_type());
}

std::unique_ptr<Model> make_with_norms(const Config& config, Weights& weights, bool norms) {
  BlockConfig c = read_block(config, kMamba);
  const MambaConfig mixer{.hidden_size = c.hidden_size,
                          .width = integer(config, {"intermediate_size", "d_inner"}, 1, 1 << 20),
                          .state_size = integer(config, {"state_size", "d_state"}, 1, 4096),
                          .kernel = integer(config, {"conv_kernel", "d_conv"}, 2, 64),
                          .time_step_rank = read_time_step_rank(config, "time_step_rank", c.hidden_size),
                          .conv_bias = config.flag_or(config.present({"use_conv_bias", "conv_bias"}), true),
                          .bias = config.flag_or(config.present({"use_bias", "bias"}), false)};
  const auto eps = static_cast<float>(config.number_or("mixer_rms_eps", 1e-6, 0, 1));
  const auto norm = [&](int dims) { return norms ? std::optional<Norm>(RmsNorm(dims, eps)) : std::nullopt; };
  return make(c, weights, [&](const WeightPath& path, Norm in_norm) {
    return mixer_layer(MambaResidual(mixer, path, std::move(in_norm), norm(mixer.time_step_rank),
                                     norm(mixer.state_size), norm(mixer.state_size)));
  });
}

}  // namespace

Mamba2Config read_mamba2(const Config& config, const DecoderConfig& c, const Mamba2Keys& keys) {
  Mamba2Config m{.hidden_size = c.hidden_size,
                 .heads = integer(config, {keys.heads}, 1, 1 << 16),
                 .head_dim = 0,
                 .groups = integer(config, {keys.groups}, 1, 4096),
                 .state_size = integer(config, {keys.state_size, "state_size"}, 1, 4096),
                 .kernel = integer(config, {keys.kernel}, 2, 64),
                 .conv_bias = config.flag_or(keys.conv_bias, true),
                 .in_bias = config.flag_or(keys.in_bias, false),
                 .out_bias = config.flag_or(keys.out_bias, false),
                 .norm_eps = c.norm_eps};
  const Json* head_dim = config.find(keys.head_dim);
  const int64_t expanded = config.integer_or("mamba_expand", 2, 1, 64) * c.hidden_size;
  if (head_dim && *head_dim != "auto") {
    m.head_dim = integer(config, {keys.head_dim}, 1, 4096);
  } else {
    m.head_dim = static_cast<int>(config.integer_or("mamba_d_ssm", expanded, 1, 1 << 28) / m.heads);
  }
  const int64_t width = config.integer_or("mamba_d_ssm", m.width(), 1, 1 << 28);
  if (m.head_dim == 0 || m.width() != width) {
    throw config.bad(keys.heads, fmt::format("must make heads of {} of {}, got {}", m.head_dim, width, m.heads));
  }
  if (m.heads % m.groups != 0) {
    throw config.bad(keys.groups, fmt::format("must divide the {} heads of the scan, got {}", m.heads, m.groups));
  }
  m.norm_groups = m.groups;
  read_time_step_limit(config, m);
  return m;
}

int read_time_step_rank(const Config& config, const char* key, int hidden_size) {
  const bool automatic = !config.has(key) || *config.find(key) == "auto";
  return automatic ? (hidden_size + 15) / 16 : static_cast<int>(config.integer(key, 1, 1 << 20));
}

std::unique_ptr<DecoderLayer> mixer_layer(MambaResidual mixer) {
  return std::make_unique<MixerLayer<MambaResidual>>(std::move(mixer));
}

std::unique_ptr<DecoderLayer> mixer_layer(Mamba2Residual mixer) {
  return std::make_unique<MixerLayer<Mamba2Residual>>(std::move(mixer));
}

std::unique_ptr<Model> make_mamba(const Config& config, Weights& weights) {
  return make_with_norms(config, weights, config.flag_or("use_bcdt_rms", false));
}

std::unique_ptr<Model> make_falcon_mamba(const Config& config, Weights& weights) {
  return make_with_norms(config, weights, true);
}

std::unique_ptr<Model> make_mamba2(const Config& config, Weights& weights) {
  BlockOptions options = kMamba;
  options.defaults.tie_word_embeddings = false;
  BlockConfig c = read_block(config, options);
  const Mamba2Config mixer = read_mamba2(
      config, c,
      {"num_heads", "head_dim", "n_groups", "ssm_state_size", "conv_kernel", "use_conv_bias", "use_bias", "use_bias"});
  return make(c, weights, [&](const WeightPath& path, Norm in_norm) {
    return mixer_layer(Mamba2Residual(mixer, path, std::move(in_norm)));
  });
}

}  // namespace mlxk
