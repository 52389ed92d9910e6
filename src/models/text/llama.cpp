// The llama block (https://arxiv.org/abs/2302.13971): norm before attention and before a gated MLP, rotary positions,
// grouped keys and values. Each model at the end of this file is this block with other knobs; names of tensors and
// configuration keys are those of Hugging Face transformers' files of the same name.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "mlx/ops.h"
#include "models/registry.h"
#include "models/step.h"
#include "nn/blocks.h"
#include "nn/experts.h"
#include "nn/layer_types.h"

namespace mlxk {
namespace {

enum class QkNorm { none, before_rope, after_rope };

// What a model_type means before config.json is read. Keys name flags of config.json; nullptr: there is no such flag.
struct Knobs {
  const char* qkv_bias_key = nullptr;
  const char* out_bias_key = nullptr;
  const char* mlp_bias_key = nullptr;
  bool qkv_bias = false;  // without the flag
  QkNorm qk_norm = QkNorm::none;
  const char* q_norm = "q_norm";  // the norms' tensors
  const char* k_norm = "k_norm";
  const char* qk_norm_key = nullptr;  // a flag that switches them off
  bool tied = true;                   // without tie_word_embeddings
  bool head_may_be_absent = false;    // an untied model without lm_head.weight uses its embeddings
  double theta = 10000;               // without rope_theta
  bool traditional = false;           // rope of neighbouring pairs
  int no_rope_interval = 0;           // every n-th layer is without rope, unless no_rope_layers says otherwise
  bool granite_scales = false;        // embedding_multiplier and its like
  bool minicpm_scales = false;        // scale_emb and its like
  bool query_scale = false;           // queries grow with their position (llama 4)
  bool mixture = false;               // layers of experts beside plain ones
};

// Layers whose MLP is a mixture of experts.
struct MixtureConfig {
  int experts, wide;
  RoutingRule rule;
  std::vector<bool> layers;  // which ones
};

struct LlamaConfig {
  static LlamaConfig from_json(const Config& config, const Knobs& knobs);

  std::string model_type;
  int hidden_size, num_hidden_layers, intermediate_size, num_attention_heads, num_key_value_heads, head_dim, vocab_size;
  int64_t max_position_embeddings;
  float rms_norm_eps;
  bool qkv_bias, out_bias, mlp_bias, tie_word_embeddings;
  Knobs knobs;
  Activation activation;
  RopeSettings rope;
  std::vector<bool> rope_layers;  // which layers rotate
  std::vector<bool> sliding;      // which layers see a window only
  int sliding_window;
  float attention_scale;
  float embedding_multiplier = 1, residual_multiplier = 1, logits_scaling = 1;
  float query_scale_beta = 0, query_scale_positions = 1;
  std::optional<MixtureConfig> mixture;
  bool mixes(int layer) const { return mixture && mixture->layers[layer]; }
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

void read_scales(const Config& config, LlamaConfig& c) {
  auto number = [&](const char* key) { return static_cast<float>(config.number(key, 1e-9, 1e9)); };
  if (c.knobs.granite_scales) {
    c.attention_scale = number("attention_multiplier");
    c.embedding_multiplier = number("embedding_multiplier");
    c.residual_multiplier = number("residual_multiplier");
    c.logits_scaling = number("logits_scaling");
  }
  if (c.knobs.minicpm_scales) {
    c.embedding_multiplier = number("scale_emb");
    c.residual_multiplier = number("scale_depth") / std::sqrt(static_cast<float>(c.num_hidden_layers));
    c.logits_scaling = static_cast<float>(c.hidden_size) / number("dim_model_base");
  }
  if (c.knobs.query_scale) {
    Config rope = config.object("rope_parameters");
    c.query_scale_beta = static_cast<float>(rope.number("llama_4_scaling_beta", 0, 1e6));
    c.query_scale_positions = static_cast<float>(rope.integer("original_max_position_embeddings", 1, int64_t{1} << 31));
  }
}

MixtureConfig read_mixture(const Config& config, int layers) {
  MixtureConfig m;
  m.experts = static_cast<int>(config.integer("num_experts", 1, 65536));
  m.wide = static_cast<int>(config.integer("moe_intermediate_size", 1, 1 << 20));
  m.rule.top_k = static_cast<int>(config.integer("num_experts_per_tok", 1, m.experts));
  m.rule.normalise = config.flag_or("norm_topk_prob", false);
  const int64_t step = config.integer_or("decoder_sparse_step", 1, 1, 1 << 20);
  for (int layer = 0; layer < layers; ++layer) m.layers.push_back((layer + 1) % step == 0);
  const Json* plain = config.find("mlp_only_layers");
  if (!plain) return m;
  if (!plain->is_array()) throw config.bad("mlp_only_layers", "must be a list");
  for (const Json& layer : *plain) {
    if (!layer.is_number_integer() || layer.get<int64_t>() < 0 || layer.get<int64_t>() >= layers) {
      throw config.bad("mlp_only_layers",
                       fmt::format("must hold numbers of layers below {}, got {}", layers, layer.dump()));
    }
    m.layers[layer.get<size_t>()] = false;
  }
  return m;
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
  c.knobs = knobs;
  if (!flag(knobs.qk_norm_key, true)) c.knobs.qk_norm = QkNorm::none;
  c.activation = read_activation(config.text_or("hidden_act", "silu"));
  c.rope = RopeSettings::read(config, c.head_dim, knobs.theta);
  c.rope.traditional = c.rope.traditional || knobs.traditional;
  c.rope_layers = read_rope_layers(config, c.num_hidden_layers, knobs.no_rope_interval);
  c.sliding = sliding_layers(config, c.num_hidden_layers, 0);
  bool slides = std::find(c.sliding.begin(), c.sliding.end(), true) != c.sliding.end();
  c.sliding_window = slides ? static_cast<int>(config.integer("sliding_window", 1, 1 << 30)) : 0;
  c.attention_scale = static_cast<float>(1 / std::sqrt(c.head_dim));
  read_scales(config, c);
  if (knobs.mixture) c.mixture = read_mixture(config, c.num_hidden_layers);
  return c;
}

struct Layer {
  Layer(const LlamaConfig& c, int index, const WeightPath& path)
      : qkv(make_qkv(c, path)),
        attention{c.rope_layers[index] ? std::optional(Rope(c.rope)) : std::nullopt,
                  head_norm(c, path, c.knobs.q_norm, QkNorm::after_rope),
                  head_norm(c, path, c.knobs.k_norm, QkNorm::after_rope), c.attention_scale},
        out{Linear(path / "self_attn" / "o_proj", c.num_attention_heads * c.head_dim, c.hidden_size, c.out_bias),
            std::nullopt, c.residual_multiplier},
        mlp(make_mlp(c, index, path)) {}

  using Mlp = std::variant<GatedMlpResidual, MixtureResidual>;

  static Mlp make_mlp(const LlamaConfig& c, int index, const WeightPath& path) {
    const RmsNorm norm(path / "post_attention_layernorm", c.hidden_size, c.rms_norm_eps);
    const WeightPath mlp = path / "mlp", experts = mlp / "switch_mlp";
    if (!c.mixes(index)) {
      return GatedMlpResidual{norm,
                              Linear(mlp / "gate_proj", c.hidden_size, c.intermediate_size, c.mlp_bias),
                              Linear(mlp / "up_proj", c.hidden_size, c.intermediate_size, c.mlp_bias),
                              Linear(mlp / "down_proj", c.intermediate_size, c.hidden_size, c.mlp_bias),
                              std::nullopt,
                              c.activation,
                              c.residual_multiplier};
    }
    const MixtureConfig& m = *c.mixture;
    return MixtureResidual{norm,
                           Linear(mlp / "gate", c.hidden_size, m.experts),
                           ExpertLinear(experts / "gate_proj", m.experts, c.hidden_size, m.wide),
                           ExpertLinear(experts / "up_proj", m.experts, c.hidden_size, m.wide),
                           ExpertLinear(experts / "down_proj", m.experts, m.wide, c.hidden_size),
                           m.rule,
                           std::nullopt,
                           c.activation,
                           c.residual_multiplier};
  }

  static std::optional<RmsNorm> head_norm(const LlamaConfig& c, const WeightPath& path, const char* name,
                                          QkNorm where) {
    if (c.knobs.qk_norm != where) return std::nullopt;
    return RmsNorm(path / "self_attn" / name, c.head_dim, c.rms_norm_eps);
  }

  static NormQkv make_qkv(const LlamaConfig& c, const WeightPath& path) {
    WeightPath attn = path / "self_attn";
    int q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
    return {RmsNorm(path / "input_layernorm", c.hidden_size, c.rms_norm_eps),
            Linear(attn / "q_proj", c.hidden_size, q, c.qkv_bias),
            Linear(attn / "k_proj", c.hidden_size, kv, c.qkv_bias),
            Linear(attn / "v_proj", c.hidden_size, kv, c.qkv_bias),
            head_norm(c, path, c.knobs.q_norm, QkNorm::before_rope),
            head_norm(c, path, c.knobs.k_norm, QkNorm::before_rope),
            c.head_dim};
  }

  mx::array operator()(const mx::array& x, AttentionCache& cache, const AttentionMask& mask, const Positions& at,
                       const std::optional<mx::array>& query_scale) const {
    mx::array attended = attention(qkv(x), cache, mask, at, query_scale);
    return std::visit([&](const auto& block) { return block(out(attended, x)); }, mlp);
  }

  NormQkv qkv;
  Attention attention;
  OutResidual out;
  Mlp mlp;
};

class Llama : public Model {
 public:
  Llama(const LlamaConfig& c, Weights& weights)
      : Model({c.model_type, c.vocab_size, c.hidden_size, c.num_hidden_layers, c.max_position_embeddings}),
        config_(c),
        type_(weights.activation_type()),
        embed_tokens_(WeightPath(weights) / "model" / "embed_tokens", c.vocab_size, c.hidden_size),
        norm_(WeightPath(weights) / "model" / "norm", c.hidden_size, c.rms_norm_eps) {
    shape_.position_stable_tokens = c.rope.position_stable_tokens();
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
    std::optional<mx::array> scale = query_scale(at);
    for (size_t i = 0; i < layers_.size(); ++i) {
      AttentionCache& layer_cache = attention_cache(cache, i);
      h = layers_[i](h, layer_cache, masks.of(layer_cache), at, scale);
    }
    h = norm_(wanted_tokens(h, inputs, at));
    mx::array logits = mx::astype(lm_head_ ? (*lm_head_)(h) : embed_tokens_.as_linear(h), mx::float32);
    return config_.logits_scaling == 1 ? logits : mx::divide(logits, mx::array(config_.logits_scaling));
  }

  ModelCache make_cache(int rows) const override {
    return make_attention_caches(config_.sliding, config_.sliding_window, rows);
  }

 private:
  // 1 + beta · ln(1 + ⌊position / original⌋), [B, 1, L, 1].
  std::optional<mx::array> query_scale(const Positions& at) const {
    if (!config_.knobs.query_scale) return std::nullopt;
    mx::array position = mx::astype(mx::reshape(at.order(), {at.rows(), 1, at.length, 1}), mx::float32);
    mx::array stretches = mx::floor(mx::divide(position, mx::array(config_.query_scale_positions)));
    return mx::add(mx::array(1.0F), mx::multiply(mx::array(config_.query_scale_beta), mx::log1p(stretches)));
  }

  LlamaConfig config_;
  mx::Dtype type_;
  Embedding embed_tokens_;
  std::vector<Layer> layers_;
  RmsNorm norm_;
  std::optional<Linear> lm_head_;
};

// Hugging Face's files hold each expert by itself.
void stack_experts(const LlamaConfig& c, Weights& weights) {
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    if (!c.mixes(layer)) continue;
    const std::string mlp = fmt::format("model.layers.{}.mlp", layer);
    for (const char* part : {"gate_proj", "up_proj", "down_proj"}) {
      const auto name = [&](int expert) { return fmt::format("{}.experts.{}.{}.weight", mlp, expert, part); };
      if (!weights.has(name(0))) continue;
      std::vector<mx::array> experts;
      for (int expert = 0; expert < c.mixture->experts; ++expert) {
        mx::array weight = weights.take_raw(name(expert));
        if (expert > 0 && (weight.shape() != experts[0].shape() || weight.dtype() != experts[0].dtype())) {
          weights.note(fmt::format("{} differs in shape or type from the first expert's", name(expert)));
          weight = experts[0];
        }
        experts.push_back(weight);
      }
      weights.tensors().emplace(fmt::format("{}.switch_mlp.{}.weight", mlp, part), mx::stack(experts));
    }
  }
}

// Buffers that old checkpoints carry along, heads for further tokens, and a head that a tied model does not use.
void sanitize(LlamaConfig& c, Weights& weights) {
  stack_experts(c, weights);
  if (c.knobs.head_may_be_absent && !weights.has("lm_head.weight")) c.tie_word_embeddings = true;
  auto starts = [](const std::string& name, const char* start) { return name.rfind(start, 0) == 0; };
  weights.drop([&](const std::string& name) {
    return name.find("rotary_emb.inv_freq") != std::string::npos || name.find("rope.inv_freq") != std::string::npos ||
           starts(name, "model.mtp_layers.") || (c.tie_word_embeddings && starts(name, "lm_head."));
  });
}

std::unique_ptr<Model> make(const Knobs& knobs, const Config& config, Weights& weights) {
  LlamaConfig c = LlamaConfig::from_json(config, knobs);
  sanitize(c, weights);
  return std::make_unique<Llama>(c, weights);
}

// The table: what a model_type differs in from the plain block.
constexpr const char* kAttentionBias = "attention_bias";
constexpr const char* kMlpBias = "mlp_bias";
constexpr Knobs kErnie{
    .qkv_bias_key = "use_bias", .out_bias_key = "use_bias", .mlp_bias_key = "use_bias", .traditional = true};
constexpr Knobs kGranite{
    .qkv_bias_key = kAttentionBias, .out_bias_key = kAttentionBias, .mlp_bias_key = kMlpBias, .granite_scales = true};
constexpr Knobs kHelium{.qkv_bias_key = kAttentionBias, .mlp_bias_key = kMlpBias, .tied = false, .traditional = true};
constexpr Knobs kHunyuan{.qkv_bias_key = kAttentionBias,
                         .out_bias_key = kAttentionBias,
                         .qk_norm = QkNorm::after_rope,
                         .q_norm = "query_layernorm",
                         .k_norm = "key_layernorm",
                         .qk_norm_key = "use_qk_norm",
                         .tied = false};
constexpr Knobs kInternLm3{
    .qkv_bias_key = "qkv_bias", .out_bias_key = "qkv_bias", .mlp_bias_key = "bias", .tied = false};
constexpr Knobs kLlama{.qkv_bias_key = kAttentionBias, .out_bias_key = kAttentionBias, .mlp_bias_key = kMlpBias};
constexpr Knobs kMimo{.qkv_bias = true, .tied = false};
constexpr Knobs kMiniCpm{.tied = false, .head_may_be_absent = true, .minicpm_scales = true};
constexpr Knobs kMinistral3{.query_scale = true};
constexpr Knobs kQwen2{.qkv_bias = true, .theta = 1e6};
constexpr Knobs kQwen3{.qkv_bias_key = kAttentionBias,
                       .out_bias_key = kAttentionBias,
                       .qk_norm = QkNorm::before_rope,
                       .tied = false,
                       .theta = 1e6};
constexpr Knobs kQwen3Moe{.qkv_bias_key = kAttentionBias,
                          .out_bias_key = kAttentionBias,
                          .qk_norm = QkNorm::before_rope,
                          .tied = false,
                          .theta = 1e6,
                          .mixture = true};
constexpr Knobs kSeedOss{
    .qkv_bias_key = kAttentionBias, .out_bias_key = "attention_out_bias", .mlp_bias_key = kMlpBias};
constexpr Knobs kSmolLm3{
    .qkv_bias_key = kAttentionBias, .out_bias_key = kAttentionBias, .mlp_bias_key = kMlpBias, .no_rope_interval = 4};

}  // namespace

#define MLXK_LLAMA(name, knobs) \
  std::unique_ptr<Model> make_##name(const Config& config, Weights& weights) { return make(knobs, config, weights); }
MLXK_LLAMA(ernie4_5, kErnie)
MLXK_LLAMA(granite, kGranite)
MLXK_LLAMA(helium, kHelium)
MLXK_LLAMA(hunyuan_v1_dense, kHunyuan)
MLXK_LLAMA(internlm3, kInternLm3)
MLXK_LLAMA(iquestcoder, kLlama)
MLXK_LLAMA(llama, kLlama)
MLXK_LLAMA(mimo, kMimo)
MLXK_LLAMA(minicpm, kMiniCpm)
MLXK_LLAMA(ministral3, kMinistral3)
MLXK_LLAMA(mistral, kLlama)
MLXK_LLAMA(qwen2, kQwen2)
MLXK_LLAMA(qwen3, kQwen3)
MLXK_LLAMA(qwen3_moe, kQwen3Moe)
MLXK_LLAMA(seed_oss, kSeedOss)
MLXK_LLAMA(smollm3, kSmolLm3)
MLXK_LLAMA(xverse, kLlama)
#undef MLXK_LLAMA

}  // namespace mlxk
