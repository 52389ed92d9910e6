// Gemma 3 (https://arxiv.org/abs/2503.19786): norms before and after each sublayer, factors 1 + weight, sliding layers
// with a rope base of their own between full ones. Tensors and keys as in transformers' gemma3.
#include <fmt/format.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "mlx/ops.h"
#include "models/registry.h"
#include "models/step.h"
#include "nn/blocks.h"
#include "nn/layer_types.h"

namespace mlxk {
namespace {

struct GemmaConfig {
  static GemmaConfig from_json(const Config& config);

  std::string model_type;
  int hidden_size, num_hidden_layers, intermediate_size, num_attention_heads, num_key_value_heads, head_dim, vocab_size;
  int sliding_window;
  int64_t max_position_embeddings;
  float rms_norm_eps, attention_scale;
  std::vector<bool> sliding;  // by layer
  Activation activation;
  RopeSettings local_rope, global_rope;
};

GemmaConfig GemmaConfig::from_json(const Config& config) {
  constexpr int kWide = 1 << 20;
  // Defaults of transformers' class: text_config of multimodal checkpoints leaves out what equals them.
  auto integer = [&](const char* key, int fallback, int high) {
    return static_cast<int>(config.integer_or(key, fallback, 1, high));
  };
  GemmaConfig c;
  c.model_type = config.text_or("model_type", "");
  c.hidden_size = integer("hidden_size", 1152, kWide);
  c.num_hidden_layers = integer("num_hidden_layers", 26, 1024);
  c.intermediate_size = integer("intermediate_size", 6912, kWide);
  c.num_attention_heads = integer("num_attention_heads", 4, 4096);
  c.num_key_value_heads = integer("num_key_value_heads", 1, 4096);
  c.head_dim = integer("head_dim", 256, 4096);
  c.vocab_size = integer("vocab_size", 262144, 1 << 24);
  c.sliding_window = integer("sliding_window", 512, 1 << 30);
  c.max_position_embeddings = config.integer_or("max_position_embeddings", 32768, 1, int64_t{1} << 31);
  if (c.num_attention_heads % c.num_key_value_heads != 0) {
    throw config.bad("num_attention_heads", fmt::format("must be a multiple of num_key_value_heads, got {} and {}",
                                                        c.num_attention_heads, c.num_key_value_heads));
  }
  c.rms_norm_eps = static_cast<float>(config.number_or("rms_norm_eps", 1e-6, 0, 1));
  c.attention_scale = static_cast<float>(1 / std::sqrt(config.number_or("query_pre_attn_scalar", 256, 1e-6, 1e9)));
  c.activation = read_activation(config.text_or("hidden_activation", "gelu_pytorch_tanh"));
  int pattern = integer("sliding_window_pattern", 6, 1024);
  c.sliding = sliding_layers(config, c.num_hidden_layers, pattern);
  c.global_rope = RopeSettings::read(config, c.head_dim, 1e6, "full_attention");
  c.local_rope = RopeSettings::read_local(config, c.head_dim, 1e4, "sliding_attention");
  return c;
}

struct Layer {
  Layer(const GemmaConfig& c, int index, const WeightPath& path)
      : qkv(make_qkv(c, path)),
        attention{Rope(c.sliding[index] ? c.local_rope : c.global_rope), std::nullopt, std::nullopt, c.attention_scale},
        out{Linear(path / "self_attn" / "o_proj", c.num_attention_heads * c.head_dim, c.hidden_size),
            norm(c, path / "post_attention_layernorm")},
        mlp{norm(c, path / "pre_feedforward_layernorm"),
            Linear(path / "mlp" / "gate_proj", c.hidden_size, c.intermediate_size),
            Linear(path / "mlp" / "up_proj", c.hidden_size, c.intermediate_size),
            Linear(path / "mlp" / "down_proj", c.intermediate_size, c.hidden_size),
            norm(c, path / "post_feedforward_layernorm"),
            c.activation} {}

  static RmsNorm norm(const GemmaConfig& c, const WeightPath& path) {
    return RmsNorm(path, c.hidden_size, c.rms_norm_eps, true);
  }

  static NormQkv make_qkv(const GemmaConfig& c, const WeightPath& path) {
    WeightPath attn = path / "self_attn";
    int q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
    return {norm(c, path / "input_layernorm"),
            Linear(attn / "q_proj", c.hidden_size, q),
            Linear(attn / "k_proj", c.hidden_size, kv),
            Linear(attn / "v_proj", c.hidden_size, kv),
            RmsNorm(attn / "q_norm", c.head_dim, c.rms_norm_eps, true),
            RmsNorm(attn / "k_norm", c.head_dim, c.rms_norm_eps, true),
            c.head_dim};
  }

  mx::array operator()(const mx::array& x, AttentionCache& cache, const AttentionMask& mask,
                       const Positions& at) const {
    mx::array attended = attention(qkv(x), cache, mask, at);
    return mlp(out(attended, x));
  }

  NormQkv qkv;
  Attention attention;
  OutResidual out;
  GatedMlpResidual mlp;
};

class Gemma3 : public Model {
 public:
  Gemma3(const GemmaConfig& c, const WeightPath& root)
      : Model({c.model_type, c.vocab_size, c.hidden_size, c.num_hidden_layers, c.max_position_embeddings}),
        config_(c),
        type_(root.weights().activation_type()),
        // The reference multiplies by the bfloat16 next to √hidden.
        embedding_scale_(mx::astype(mx::array(std::sqrt(float(c.hidden_size)), mx::bfloat16), type_)),
        embed_tokens_(root / "model" / "embed_tokens", c.vocab_size, c.hidden_size),
        norm_(root / "model" / "norm", c.hidden_size, c.rms_norm_eps, true) {
    for (int i = 0; i < c.num_hidden_layers; ++i) layers_.emplace_back(c, i, root / "model" / "layers" / i);
    if (root.has("lm_head.weight")) lm_head_.emplace(root / "lm_head", c.hidden_size, c.vocab_size);
  }

  mx::array forward(const Inputs& inputs, ModelCache& cache) override {
    Positions at = positions_of(inputs, cache, shape_);
    mx::array h = mx::multiply(embed(inputs, embed_tokens_, type_), embedding_scale_);
    LayerMasks masks(inputs, at);
    for (size_t i = 0; i < layers_.size(); ++i) {
      AttentionCache& layer_cache = attention_cache(cache, i);
      h = layers_[i](h, layer_cache, masks.of(layer_cache), at);
    }
    h = norm_(wanted_tokens(h, inputs, at));
    return mx::astype(lm_head_ ? (*lm_head_)(h) : embed_tokens_.as_linear(h), mx::float32);
  }

  ModelCache make_cache(int rows) const override {
    return make_attention_caches(config_.sliding, config_.sliding_window, rows);
  }

 private:
  GemmaConfig config_;
  mx::Dtype type_;
  mx::array embedding_scale_;
  Embedding embed_tokens_;
  std::vector<Layer> layers_;
  RmsNorm norm_;
  std::optional<Linear> lm_head_;
};

}  // namespace

std::unique_ptr<Model> make_gemma3_text(const Config& config, Weights& weights) {
  return std::make_unique<Gemma3>(GemmaConfig::from_json(config), WeightPath(weights));
}

// The multimodal checkpoint's language model: what belongs to images is left out.
std::unique_ptr<Model> make_gemma3(const Config& config, Weights& weights) {
  Json text = config.object("text_config").json();
  const auto defaults = {std::pair("num_attention_heads", 8), std::pair("num_key_value_heads", 4)};
  for (const auto& [key, value] : defaults) {
    if (!text.contains(key)) text[key] = value;
  }
  text["vocab_size"] = config.integer_or("vocab_size", text.value("vocab_size", 262208), 1, 1 << 24);
  text["model_type"] = "gemma3";
  weights.drop([](const std::string& name) {
    return name.rfind("vision_tower.", 0) == 0 || name.rfind("multi_modal_projector.", 0) == 0;
  });
  GemmaConfig c = GemmaConfig::from_json(Config(std::move(text), config.place() + " text_config"));
  return std::make_unique<Gemma3>(c, WeightPath(weights) / "language_model");
}

}  // namespace mlxk
