// The llama block (https://arxiv.org/abs/2302.13971): norm before attention and before a gated MLP, rotary positions,
// grouped keys and values. Each model at the end of this file is this block with other knobs; names of tensors and
// configuration keys are those of Hugging Face transformers' files of the same name.
#include <fmt/format.h>

#include <algorithm>
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

enum class QkNorm { none, before_rope };

// What a model_type means before config.json is read. A bias is a flag of config.json, or fixed.
struct Knobs {
  const char* qkv_bias_key = nullptr;
  bool qkv_bias = false;
  const char* out_bias_key = nullptr;
  const char* mlp_bias_key = nullptr;
  QkNorm qk_norm = QkNorm::none;
  bool tied = true;             // when tie_word_embeddings is absent
  double theta = 10000;         // when rope_theta is absent
  bool traditional = false;     // rope of neighbouring pairs
  int no_rope_interval = 0;     // every n-th layer is without rope, unless no_rope_layers says otherwise
};

struct LlamaConfig {
  static LlamaConfig from_json(const Config& config, const Knobs& knobs);

  std::string model_type;
  int hidden_size, num_hidden_layers, intermediate_size, num_attention_heads, num_key_value_heads, head_dim, vocab_size;
  int64_t max_position_embeddings;
  float rms_norm_eps;
  bool qkv_bias, out_bias, mlp_bias, tie_word_embeddings;
  QkNorm qk_norm;
  Activation activation;
  RopeSettings rope;
  std::vector<bool> rope_layers;  // which layers rotate
  std::vector<bool> sliding;      // which layers see a window only
  int sliding_window;
  float attention_scale, embedding_multiplier, residual_multiplier, logits_scaling;
};

std::vector<bool> read_rope_layers(const Config& config, int layers, int interval) {
  std::vector<bool> rotates;
  if (interval > 0) interval = static_cast<int>(config.integer_or("no_rope_layer_interval", interval, 1, 1 << 20));
  for (int layer = 0; layer < layers; ++layer) rotates.push_back(interval == 0 || (layer + 1) % interval != 0);
  const Json* list = config.find("no_rope_layers");
  if (interval == 0 || !list) return rotates;
  if (!list->is_array() || list->size() != static_cast<size_t>(layers)) {
    throw config.bad("no_rope_layers", fmt::format("must have {} entries", layers));
  }
  for (int layer = 0; layer < layers; ++layer) {
    const Json& value = (*list)[layer];
    if (!value.is_number_integer() && !value.is_boolean()) throw config.bad("no_rope_layers", "must hold 0 and 1");
    rotates[layer] = value.is_boolean() ? value.get<bool>() : value.get<int64_t>() != 0;  // 1 means: with rope
  }
  return rotates;
}

LlamaConfig LlamaConfig::from_json(const Config& config, const Knobs& knobs) {
  constexpr int kWide = 1 << 20;
  auto integer = [&](const char* key, int high) { return static_cast<int>(config.integer(key, 1, high)); };
  auto flag = [&](const char* key, bool fallback) { return key ? config.flag_or(key, fallback) : fallback; };
  LlamaConfig c;
  c.model_type = config.text_or("model_type", "");
  c.hidden_size = integer("hidden_size", kWide);
  c.num_hidden_layers = integer("num_hidden_layers", 1024);
  c.intermediate_size = integer("intermediate_size", kWide);
  c.num_attention_heads = integer("num_attention_heads", 4096);
  c.num_key_value_heads = static_cast<int>(config.integer_or("num_key_value_heads", c.num_attention_heads, 1, 4096));
  c.vocab_size = integer("vocab_size", 1 << 24);
  if (c.num_attention_heads % c.num_key_value_heads != 0) {
    throw config.bad("num_attention_heads", fmt::format("must be a multiple of num_key_value_heads, got {} and {}",
                                                        c.num_attention_heads, c.num_key_value_heads));
  }
  if (!config.has("head_dim") && c.hidden_size % c.num_attention_heads != 0) {
    throw config.bad("hidden_size", fmt::format("must be a multiple of num_attention_heads, got {} and {}",
                                                c.hidden_size, c.num_attention_heads));
  }
  c.head_dim = static_cast<int>(config.integer_or("head_dim", c.hidden_size / c.num_attention_heads, 2, 4096));
  c.max_position_embeddings = config.integer_or("max_position_embeddings", 0, 1, int64_t{1} << 31);
  c.rms_norm_eps = static_cast<float>(config.number_or("rms_norm_eps", 1e-6, 0, 1));
  c.qkv_bias = flag(knobs.qkv_bias_key, knobs.qkv_bias);
  c.out_bias = flag(knobs.out_bias_key, false);
  c.mlp_bias = flag(knobs.mlp_bias_key, false);
  c.tie_word_embeddings = config.flag_or("tie_word_embeddings", knobs.tied);
  c.qk_norm = knobs.qk_norm;
  c.activation = read_activation(config.text_or("hidden_act", "silu"));
  c.rope = RopeSettings::read(config, c.head_dim, knobs.theta);
  c.rope.traditional = c.rope.traditional || knobs.traditional;
  c.rope_layers = read_rope_layers(config, c.num_hidden_layers, knobs.no_rope_interval);
  c.sliding = sliding_layers(config, c.num_hidden_layers, 0);
  bool slides = std::find(c.sliding.begin(), c.sliding.end(), true) != c.sliding.end();
  c.sliding_window = slides ? static_cast<int>(config.integer("sliding_window", 1, 1 << 30)) : 0;
  c.attention_scale = static_cast<float>(config.number_or("attention_multiplier", 1 / std::sqrt(c.head_dim), 0, 1e6));
  c.embedding_multiplier = static_cast<float>(config.number_or("embedding_multiplier", 1, 0, 1e6));
  c.residual_multiplier = static_cast<float>(config.number_or("residual_multiplier", 1, 0, 1e6));
  c.logits_scaling = static_cast<float>(config.number_or("logits_scaling", 1, 1e-6, 1e6));
  return c;
}

struct Layer {
  Layer(const LlamaConfig& c, int index, const WeightPath& path)
      : qkv(make_qkv(c, path)),
        attention{c.rope_layers[index] ? std::optional(Rope(c.rope)) : std::nullopt, std::nullopt, std::nullopt,
                  c.attention_scale},
        out{Linear(path / "self_attn" / "o_proj", c.num_attention_heads * c.head_dim, c.hidden_size, c.out_bias),
            std::nullopt, c.residual_multiplier},
        mlp{RmsNorm(path / "post_attention_layernorm", c.hidden_size, c.rms_norm_eps),
            Linear(path / "mlp" / "gate_proj", c.hidden_size, c.intermediate_size, c.mlp_bias),
            Linear(path / "mlp" / "up_proj", c.hidden_size, c.intermediate_size, c.mlp_bias),
            Linear(path / "mlp" / "down_proj", c.intermediate_size, c.hidden_size, c.mlp_bias),
            std::nullopt,
            c.activation,
            c.residual_multiplier} {}

  static NormQkv make_qkv(const LlamaConfig& c, const WeightPath& path) {
    WeightPath attn = path / "self_attn";
    int q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
    auto head_norm = [&](const char* name) {
      bool has = c.qk_norm == QkNorm::before_rope;
      return has ? std::optional(RmsNorm(attn / name, c.head_dim, c.rms_norm_eps)) : std::nullopt;
    };
    return {RmsNorm(path / "input_layernorm", c.hidden_size, c.rms_norm_eps),
            Linear(attn / "q_proj", c.hidden_size, q, c.qkv_bias),
            Linear(attn / "k_proj", c.hidden_size, kv, c.qkv_bias),
            Linear(attn / "v_proj", c.hidden_size, kv, c.qkv_bias),
            head_norm("q_norm"),
            head_norm("k_norm"),
            c.head_dim};
  }

  mx::array operator()(const mx::array& x, AttentionCache& cache, const AttentionMask& mask, const Positions& at) const {
    mx::array attended = attention(qkv(x), cache, mask, at);
    return mlp(out(attended, x));
  }

  NormQkv qkv;
  Attention attention;
  OutResidual out;
  GatedMlpResidual mlp;
};

class Llama : public Model {
 public:
  Llama(const LlamaConfig& c, Weights& weights)
      : Model({c.model_type, c.vocab_size, c.hidden_size, c.num_hidden_layers, c.max_position_embeddings}),
        config_(c),
        type_(weights.activation_type()),
        embed_tokens_(WeightPath(weights) / "model" / "embed_tokens", c.vocab_size, c.hidden_size),
        norm_(WeightPath(weights) / "model" / "norm", c.hidden_size, c.rms_norm_eps) {
    for (int i = 0; i < c.num_hidden_layers; ++i) {
      layers_.emplace_back(c, i, WeightPath(weights) / "model" / "layers" / i);
    }
    if (!c.tie_word_embeddings) lm_head_.emplace(WeightPath(weights) / "lm_head", c.hidden_size, c.vocab_size);
  }

  mx::array forward(const Inputs& inputs, ModelCache& cache) override {
    Positions at = positions_of(inputs, cache, shape_);
    mx::array h = embed(inputs, embed_tokens_, type_);
    if (config_.embedding_multiplier != 1) h = mx::multiply(h, mx::array(config_.embedding_multiplier, h.dtype()));
    LayerMasks masks(inputs, at);
    for (size_t i = 0; i < layers_.size(); ++i) {
      AttentionCache& layer_cache = attention_cache(cache, i);
      h = layers_[i](h, layer_cache, masks.of(layer_cache), at);
    }
    h = norm_(wanted_tokens(h, inputs, at));
    mx::array logits = mx::astype(lm_head_ ? (*lm_head_)(h) : embed_tokens_.as_linear(h), mx::float32);
    return config_.logits_scaling == 1 ? logits : mx::divide(logits, mx::array(config_.logits_scaling));
  }

  ModelCache make_cache(int rows) const override { return make_attention_caches(config_.sliding, config_.sliding_window, rows); }

 private:
  LlamaConfig config_;
  mx::Dtype type_;
  Embedding embed_tokens_;
  std::vector<Layer> layers_;
  RmsNorm norm_;
  std::optional<Linear> lm_head_;
};

// Buffers that old checkpoints carry along, and a head that a tied model does not use.
void sanitize(const LlamaConfig& c, Weights& weights) {
  for (auto it = weights.tensors().begin(); it != weights.tensors().end();) {
    bool frequencies = it->first.find("rotary_emb.inv_freq") != std::string::npos;
    bool head = c.tie_word_embeddings && it->first.rfind("lm_head.", 0) == 0;
    it = frequencies || head ? weights.tensors().erase(it) : std::next(it);
  }
}

std::unique_ptr<Model> make(const Knobs& knobs, const Config& config, Weights& weights) {
  LlamaConfig c = LlamaConfig::from_json(config, knobs);
  sanitize(c, weights);
  return std::make_unique<Llama>(c, weights);
}

constexpr Knobs kLlama{.qkv_bias_key = "attention_bias", .out_bias_key = "attention_bias", .mlp_bias_key = "mlp_bias"};

}  // namespace

#define MLXK_LLAMA(name, ...)                                                             \
  std::unique_ptr<Model> make_##name(const Config& config, Weights& weights) {            \
    return make(Knobs __VA_ARGS__, config, weights);                                      \
  }
MLXK_LLAMA(granite, (kLlama))
MLXK_LLAMA(llama, (kLlama))
MLXK_LLAMA(mistral, (kLlama))
MLXK_LLAMA(qwen2, {.qkv_bias = true, .theta = 1e6})
MLXK_LLAMA(qwen3, {.qk_norm = QkNorm::before_rope, .tied = false, .theta = 1e6})
MLXK_LLAMA(smollm3, {.qkv_bias_key = "attention_bias", .out_bias_key = "attention_bias", .mlp_bias_key = "mlp_bias",
                     .no_rope_interval = 4})

}  // namespace mlxk
