// MiMo-V2-Flash (https://arxiv.org/abs/2601.02780), as mlx-lm computes it: sliding layers have their own heads, rope
// base and sinks, values are narrower than keys, and mixtures have DeepSeek-V3's router.
#include <fmt/format.h>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kMimoV2{
    .defaults = {.tie_word_embeddings = false}, .mixture = true, .experts = kDeepseekV3Mixture};

/// The attention of layers of one kind.
struct Heads {
  int heads, kv_heads, head_dim, value_dim;
  bool sinks;
  RopeSettings rope;

  /// Keys of sliding layers begin with `swa_`.
  static Heads read(const Config& config, bool slides) {
    const std::string prefix = slides ? "swa_" : "";
    const auto size = [&](const char* key, int low) {
      return static_cast<int>(config.integer((prefix + key).c_str(), low, 4096));
    };
    Heads h{size("num_attention_heads", 1),
            size("num_key_value_heads", 1),
            size("head_dim", 2),
            size("v_head_dim", 1),
            config.flag_or(slides ? "add_swa_attention_sink_bias" : "add_full_attention_sink_bias", slides),
            {}};
    if (h.heads % h.kv_heads != 0) {
      throw config.bad(prefix + "num_attention_heads", "must be a multiple of " + prefix + "num_key_value_heads");
    }
    Json rope = Json::object();
    rope["rope_theta"] = config.number((prefix + "rope_theta").c_str(), 1, 1e12);
    rope["partial_rotary_factor"] = config.number_or("partial_rotary_factor", 1, 0, 1);
    h.rope = RopeSettings::read(Config(std::move(rope), config.place()), h.head_dim, 10000);
    return h;
  }
};

class Attends : public DecoderLayer {
 public:
  Attends(const BlockConfig& c, const Heads& h, float value_scale, int window, const WeightPath& layer)
      : Attends(c, h, value_scale, window, layer, layer / c.options.names.attention) {}

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    Qkv qkv = qkv_(x);
    if (value_scale_ != 1) qkv.v = mx::multiply(qkv.v, mx::array(value_scale_, qkv.v.dtype()));
    return out_(attention_(qkv, caches.attention(), in), x);
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override { return attention_cache(rows, window_); }

 private:
  Attends(const BlockConfig& c, const Heads& h, float value_scale, int window, const WeightPath& layer,
          const WeightPath& path)
      : qkv_{make_norm(c.options.norm, layer / c.options.names.attention_norm, c.hidden_size, c.norm_eps),
             Linear(path / "q_proj", c.hidden_size, h.heads * h.head_dim),
             Linear(path / "k_proj", c.hidden_size, h.kv_heads * h.head_dim),
             Linear(path / "v_proj", c.hidden_size, h.kv_heads * h.value_dim),
             std::nullopt,
             std::nullopt,
             h.head_dim,
             std::nullopt,
             h.value_dim},
        attention_{Rope(h.rope), std::nullopt, std::nullopt, scores(h, path)},
        out_{Linear(path / "o_proj", h.heads * h.value_dim, c.hidden_size)},
        value_scale_(value_scale),
        window_(window) {}

  static AttentionScores scores(const Heads& h, const WeightPath& path) {
    AttentionScores made(1 / std::sqrt(static_cast<float>(h.head_dim)));
    if (h.sinks) made.sinks = mx::astype(path.take("attention_sink_bias", {h.heads}), mx::float32);
    return made;
  }

  NormQkv qkv_;
  Attention attention_;
  OutResidual out_;
  float value_scale_;
  int window_;
};

/// `hybrid_layer_pattern` has 1 for a sliding layer; converted to layer_types.
Config with_hybrid_layer_types(const Config& config) {
  const auto layers = static_cast<size_t>(config.integer("num_hidden_layers", 1, 1024));
  const Json* pattern = config.find("hybrid_layer_pattern");
  if (!pattern || !pattern->is_array() || pattern->size() != layers) {
    throw config.bad("hybrid_layer_pattern", fmt::format("must have {} entries", layers));
  }
  Json json = config.json();
  json["layer_types"] = Json::array();
  for (const Json& slides : *pattern) {
    json["layer_types"].push_back(slides == 1 ? "sliding_attention" : "full_attention");
  }
  const char* window = config.has("sliding_window_size") ? "sliding_window_size" : "sliding_window";
  json["sliding_window"] = config.integer(window, 1, 1 << 30);
  return Config(std::move(json), config.place());
}

}  // namespace

std::unique_ptr<Model> make_mimo_v2_flash(const Config& config, Weights& weights) {
  BlockConfig c = read_block(with_hybrid_layer_types(config), kMimoV2);
  const Heads global = Heads::read(config, false), local = Heads::read(config, true);
  const auto value_scale = static_cast<float>(config.number_or("attention_value_scale", 1, 1e-6, 1e6));
  weights.drop([](const std::string& name) { return name.starts_with("model.mtp"); });
  sanitize_block(c, weights);
  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const WeightPath path = root / c.options.names.layers / layer;
    const int window = c.windows[static_cast<size_t>(layer)];
    auto attention = std::make_unique<Attends>(c, c.slides(layer) ? local : global, value_scale, window, path);
    parts.layers.push_back(make_block(c, layer, path, std::move(attention)));
  }
  return std::make_unique<Decoder>(shape_of(c), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
