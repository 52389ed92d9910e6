// Gemma 4 (transformers' gemma4 and gemma4_unified): Gemma 3's blocks with heads of another size on full layers, whose
// keys may be the values; per-layer embeddings; last layers that read the keys and values of earlier ones; a mixture of
// experts beside the plain MLP. The factors of norms are the weights themselves.
#include <algorithm>
#include <cmath>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"
#include "models/text/per_layer_input.h"
#include "models/text/shared_kv.h"

namespace mlxk {
namespace {

// Defaults as in mlx-lm; checkpoints give nearly all of these keys.
constexpr BlockOptions kGemma4{.defaults = {.hidden_size = 1536,
                                            .num_hidden_layers = 35,
                                            .num_attention_heads = 8,
                                            .num_key_value_heads = 1,
                                            .head_dim = 256,
                                            .vocab_size = 262144,
                                            .intermediate_size = 6144,
                                            .max_position_embeddings = 131072,
                                            .activation = "gelu_pytorch_tanh",
                                            .sliding_window = 512,
                                            .sliding_window_pattern = 5},
                               .names = {.attention_post_norm = "post_attention_layernorm"},
                               .qk_norm = QkNorm::before_rope,
                               .v_norm = true};

/// The parts of Gemma 4 beyond a block.
struct Gemma4Config : BlockConfig {
  SharedKv shared;
  int experts = 0, top_k = 0, moe_intermediate_size = 0;  // 0: no mixture
  int per_layer_dims = 0, per_layer_vocab = 0;            // 0: no per-layer embeddings
};

/// The mixture beside the MLP, with its own norms before and after it.
class MixtureBeside {
 public:
  MixtureBeside(const Gemma4Config& c, const WeightPath& path)
      : norm_(RmsNorm(path / "pre_feedforward_layernorm_2", c.hidden_size, c.norm_eps)),
        mlp_post_norm_(RmsNorm(path / "post_feedforward_layernorm_1", c.hidden_size, c.norm_eps)),
        post_norm_(RmsNorm(path / "post_feedforward_layernorm_2", c.hidden_size, c.norm_eps)),
        mixture_{std::nullopt,
                 router(c, path / "router"),
                 stack(c, path, "gate_proj", c.hidden_size, c.moe_intermediate_size),
                 stack(c, path, "up_proj", c.hidden_size, c.moe_intermediate_size),
                 stack(c, path, "down_proj", c.moe_intermediate_size, c.hidden_size),
                 c.activation} {}

  /// x [B, L, hidden] and the MLP's output for it → the combined output.
  mx::array operator()(const mx::array& x, const mx::array& dense) const {
    const auto rows = [](const mx::array& all) { return mx::flatten(all, 0, 1); };
    const mx::array sum = mixture_.sum_of_experts(rows(norm_(x)), rows(x));
    return mx::add(mlp_post_norm_(dense), post_norm_(mx::reshape(sum, x.shape())));
  }

 private:
  static ExpertLinear stack(const Gemma4Config& c, const WeightPath& path, const char* name, int in, int out) {
    return ExpertLinear(path / "experts" / "switch_glu" / name, c.experts, in, out);
  }

  static Router router(const Gemma4Config& c, const WeightPath& path) {
    Router router{Linear(path / "proj", c.hidden_size, c.experts),
                  {.top_k = c.top_k, .score = RoutingRule::Score::softmax_of_chosen}};
    router.expert_scale = mx::astype(path.take("per_expert_scale", {c.experts}), mx::float32);
    router.norm = RmsNorm(c.hidden_size, c.norm_eps);
    const mx::array scale = path.take("scale", {c.hidden_size});
    router.input_scale =
        mx::multiply(scale, mx::array(1 / std::sqrt(static_cast<float>(c.hidden_size)), scale.dtype()));
    return router;
  }

  Norm norm_, mlp_post_norm_, post_norm_;
  MixtureResidual mixture_;
};

/// The head width of `layer`, which has full attention. transformers 5.24 saves global_head_dim as an entry of
/// per_layer_config for each such layer.
int global_head_dim(const Gemma4Config& c, int layer, const Config& config) {
  const std::string key = std::to_string(layer);
  if (!config.has("global_head_dim") && config.has("per_layer_config")) {
    const Config layers = config.object("per_layer_config");
    if (layers.has(key.c_str())) {
      return static_cast<int>(layers.object(key.c_str()).integer_or("head_dim", c.head_dim, 2, 4096));
    }
  }
  const int fallback = config.json().contains("global_head_dim") ? c.head_dim : 512;  // a null means head_dim
  return static_cast<int>(config.integer_or("global_head_dim", fallback, 2, 4096));
}

/// `c` for the blocks of `layer`.
BlockConfig config_of_layer(const Gemma4Config& c, int layer, const Config& config) {
  BlockConfig own = c;
  const bool reads = c.shared.source[static_cast<size_t>(layer)] >= 0;
  if (!c.slides(layer)) {
    own.head_dim = global_head_dim(c, layer, config);
    if (config.flag_or("attention_k_eq_v", false)) {
      own.options.names.v = nullptr;
      own.num_key_value_heads = static_cast<int>(
          config.integer_or("num_global_key_value_heads", c.num_key_value_heads, 1, c.num_attention_heads));
      if (c.num_attention_heads % own.num_key_value_heads != 0) {
        throw config.bad("num_global_key_value_heads", "must divide num_attention_heads");
      }
    }
  }
  if (reads) own.options.names.k = own.options.names.v = own.options.names.k_norm = nullptr;
  if (reads && config.flag_or("use_double_wide_mlp", true)) own.intermediate_size *= 2;
  own.ropes[static_cast<size_t>(layer)] = c.slides(layer)
                                              ? RopeSettings::read(config, own.head_dim, 1e4, "sliding_attention")
                                              : RopeSettings::read(config, own.head_dim, 1e6, "full_attention");
  return own;
}

class Gemma4Layer : public DecoderLayer {
 public:
  Gemma4Layer(const Gemma4Config& c, const BlockConfig& own, int layer, const WeightPath& path)
      : shared_(c.shared),
        layer_(layer),
        window_(c.window(layer)),
        attention_(make_block_attention(own, layer, path)),
        mlp_{RmsNorm(path / "pre_feedforward_layernorm", c.hidden_size, c.norm_eps),
             Linear(path / "mlp" / "gate_proj", c.hidden_size, own.intermediate_size),
             Linear(path / "mlp" / "up_proj", c.hidden_size, own.intermediate_size),
             Linear(path / "mlp" / "down_proj", own.intermediate_size, c.hidden_size),
             RmsNorm(path / "post_feedforward_layernorm", c.hidden_size, c.norm_eps),
             c.activation},
        scale_(path.take("layer_scalar", {1})) {
    attention_.attention.mask.window = shared_.mask_window(layer, window_);
    if (c.experts > 0) mixture_.emplace(c, path);
    if (c.per_layer_dims > 0) per_layer_.emplace(path, c, c.per_layer_dims);
  }

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    const mx::array attended = attention_(x, caches.attention(), in);
    mx::array h = mixture_
                      ? mx::add(attended, (*mlp_.post_norm)((*mixture_)(attended, mlp_.inner((*mlp_.norm)(attended)))))
                      : mlp_(attended);
    if (per_layer_) h = mx::add(h, (*per_layer_)(h, in.extras[static_cast<size_t>(layer_)]));
    return mx::multiply(h, mx::astype(scale_, h.dtype()));
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override {
    return shared_.make_caches(layer_, rows, window_);
  }
  int shares_caches_of() const override { return shared_.source[static_cast<size_t>(layer_)]; }

 private:
  SharedKv shared_;
  int layer_, window_;
  SelfAttention attention_;
  GatedMlpResidual mlp_;
  std::optional<MixtureBeside> mixture_;
  std::optional<PerLayerInput> per_layer_;
  mx::array scale_;
};

/// The defaults of the layers without rope_parameters.
Config with_rope(const Config& config) {
  if (config.has("rope_parameters")) return config;
  Json json = config.json();
  json["rope_parameters"] = {
      {"full_attention", {{"rope_type", "proportional"}, {"rope_theta", 1e6}, {"partial_rotary_factor", 0.25}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 1e4}}}};
  return Config(std::move(json), config.place());
}

Gemma4Config read_gemma4(const Config& config) {
  Gemma4Config c{read_block(config, kGemma4)};
  c.shared = SharedKv::read(config, c);
  c.attention_scale = 1;
  const auto integer_or = [&](const char* key, int fallback, int low, int high) {
    return static_cast<int>(config.integer_or(key, fallback, low, high));
  };
  // A null means no cap; without the key there is a default cap.
  if (!config.json().contains("final_logit_softcapping")) c.final_soft_cap = 30;
  c.per_layer_dims = integer_or("hidden_size_per_layer_input", 256, 0, kMaxWidth);
  c.per_layer_vocab = integer_or("vocab_size_per_layer_input", c.vocab_size, 1, 1 << 24);
  if (!config.flag_or("enable_moe_block", false)) return c;
  c.experts = static_cast<int>(config.integer("num_experts", 1, 65536));
  c.top_k = static_cast<int>(config.integer("top_k_experts", 1, c.experts));
  c.moe_intermediate_size = static_cast<int>(config.integer("moe_intermediate_size", 1, kMaxWidth));
  return c;
}

/// Drops tensors that readers of another layer's cache do not use, experts, and the activation bounds of towers.
void sanitize(Gemma4Config& c, Weights& weights, const std::string& root) {
  const std::string layers = (root.empty() ? "" : root + ".") + "model.layers.";
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const std::string path = layers + std::to_string(layer) + ".";
    split_gate_up(weights, path + "experts", path + "experts.switch_glu", c.hidden_size);
    if (c.shared.source[static_cast<size_t>(layer)] < 0) continue;
    weights.drop([&](const std::string& name) {
      return name.starts_with(path + "self_attn.k_") || name.starts_with(path + "self_attn.v_");
    });
  }
  weights.drop([](const std::string& name) {
    constexpr std::string_view kBounds[] = {".input_max", ".input_min", ".output_max", ".output_min"};
    return std::any_of(std::begin(kBounds), std::end(kBounds), [&](auto bound) { return name.ends_with(bound); });
  });
  sanitize_block(c, weights, root);
}

/// `media`: the ids of placeholders, whose rows of the per-layer table are the padding's.
std::unique_ptr<Model> make(const Config& given, Weights& weights, const std::string& root,
                            const std::vector<int>& media = {}) {
  const Config config = with_rope(given);
  Gemma4Config c = read_gemma4(config);
  sanitize(c, weights, root);
  const WeightPath path = root.empty() ? WeightPath(weights) : WeightPath(weights) / root;
  c.embedding_multiplier = embedding_factor(std::sqrt(double(c.hidden_size)), path / "model" / "embed_tokens");
  Decoder::Parts parts = block_parts(c, path);
  ModelShape shape = shape_of(c);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const BlockConfig own = config_of_layer(c, layer, config);
    parts.layers.push_back(std::make_unique<Gemma4Layer>(c, own, layer, path / "model" / "layers" / layer));
    shape.position_stable_tokens =
        std::min(shape.position_stable_tokens, own.ropes[static_cast<size_t>(layer)]->position_stable_tokens());
  }
  if (c.per_layer_dims > 0) {
    const auto pad = static_cast<int>(config.integer_or("pad_token_id", 0, 0, c.vocab_size - 1));
    parts.prepare = [embedding = PerLayerEmbedding(path / "model", c, c.per_layer_vocab, c.per_layer_dims), media, pad](
                        const mx::array& h, const Inputs& inputs, LayerInputs& in) {
      if (!inputs.ids) throw Error(ErrorKind::invalid, "[gemma4] per-layer embeddings need the tokens' ids");
      mx::array ids = *inputs.ids;
      for (const int id : inputs.embeddings ? media : std::vector<int>()) {
        ids = mx::where(mx::equal(ids, mx::array(id, ids.dtype())), mx::array(pad, ids.dtype()), ids);
      }
      in.extras = embedding(h, ids);
      return h;
    };
  }
  return std::make_unique<Decoder>(std::move(shape), std::move(parts), weights.activation_type());
}

}  // namespace

std::unique_ptr<Model> make_gemma4_text(const Config& config, Weights& weights) { return make(config, weights, ""); }

// The multimodal checkpoint's language model: image and audio tensors are left out.
std::unique_ptr<Model> make_gemma4(const Config& config, Weights& weights) {
  Json text = config.object("text_config").json();
  text["vocab_size"] = config.integer_or("vocab_size", text.value("vocab_size", 262144), 1, 1 << 24);
  text["model_type"] = config.text_or("model_type", "gemma4");
  weights.drop([](std::string name) {
    if (name.starts_with("model.")) name.erase(0, 6);
    for (const char* part : {"vision_tower.", "multi_modal_projector.", "audio_tower.", "embed_audio.", "embed_vision.",
                             "vision_embedder."}) {
      if (name.starts_with(part)) return true;
    }
    return false;
  });
  // Hugging Face's files have the language model below model.language_model, with its head beside it.
  Weights::Tensors renamed;
  for (auto& [name, tensor] : weights.tensors()) {
    std::string as = name;
    if (as.starts_with("model.language_model.")) as = "language_model.model." + as.substr(21);
    if (as.starts_with("lm_head.")) as = "language_model." + as;
    renamed.emplace(std::move(as), std::move(tensor));
  }
  weights.tensors() = std::move(renamed);
  std::vector<int> media;
  for (const auto& [key, fallback] : {std::pair("image_token_id", 258880), std::pair("audio_token_id", 258881)}) {
    media.push_back(static_cast<int>(config.integer_or(key, fallback, 0, 1 << 24)));
  }
  return make(Config(std::move(text), config.place() + " text_config"), weights, "language_model", media);
}

std::unique_ptr<Model> make_gemma4_unified(const Config& config, Weights& weights) {
  return make_gemma4(config, weights);
}

}  // namespace mlxk
