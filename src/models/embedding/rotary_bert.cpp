// BERT and XLM-RoBERTa with rotary positions: nomic-embed (https://arxiv.org/abs/2402.01613) and its mixture of experts
// (https://arxiv.org/abs/2502.07972), mGTE (https://arxiv.org/abs/2407.19669, model_type gte or new) and
// jina-embeddings-v3 (https://arxiv.org/abs/2409.10173), whose adapters are in task_adapters.h. Tensors are named as in
// transformers; the names of the models' own code are converted to those.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/embedding/task_adapters.h"
#include "nn/mixture.h"

namespace mlxk {
namespace {

/// The differences between the model_types, apart from their tensors.
struct Options {
  const char* activation = "gelu";
  double theta = 10000;
  double norm_eps = 1e-12;
  bool roberta_head = false;  // classifier.dense and out_proj, else a pooler and classifier
};

/// Parts of the names in the models' own code, in the order of replacement.
constexpr std::pair<const char*, const char*> kNames[] = {
    {"encoder.layers.", "layers."},
    {"encoder.layer.", "layers."},
    {"emb_ln.", "embeddings.LayerNorm."},
    {".attn.out_proj.", ".self_attn.o_proj."},
    {".mixer.out_proj.", ".self_attn.o_proj."},
    {".attention.o_proj.", ".self_attn.o_proj."},
    {".attn.Wqkv.", ".self_attn.qkv_proj."},
    {".mixer.Wqkv.", ".self_attn.qkv_proj."},
    {".attention.qkv_proj.", ".self_attn.qkv_proj."},
    {".mlp.fc11.", ".mlp.up_proj."},
    {".mlp.fc12.", ".mlp.gate_proj."},
    {".norm1.", ".post_attention_layernorm."},
    {".norm2.", ".post_mlp_layernorm."},
    {".attn_ln.", ".post_attention_layernorm."},
    {".mlp_ln.", ".post_mlp_layernorm."},
    {"lm_head.norm.", "lm_head.layer_norm."},
    {".parametrizations.weight.original", ".weight"},
    {".parametrizations.weight.0.lora_", ".lora_"},
};

/// Reshapes [experts * width, hidden] to [experts, width, hidden], and transposes the second of them.
void split_experts(Weights& weights, int experts) {
  constexpr std::pair<const char*, const char*> kStacks[] = {{".experts.mlp.w1", ".experts.up_proj.weight"},
                                                             {".experts.mlp.w2", ".experts.down_proj.weight"}};
  Weights::Tensors renamed;
  for (auto& [name, tensor] : weights.tensors()) {
    std::string own = name;
    mx::array stack = tensor;
    for (const auto& [from, to] : kStacks) {
      if (!name.ends_with(from) || tensor.ndim() != 2 || tensor.shape(0) % experts != 0) continue;
      own.replace(own.size() - std::string(from).size(), std::string::npos, to);
      stack = mx::unflatten(tensor, 0, {experts, -1});
      if (name.ends_with("w2")) stack = mx::contiguous(mx::swapaxes(stack, 1, 2));
    }
    renamed.emplace(std::move(own), std::move(stack));
  }
  weights.tensors() = std::move(renamed);
}

void sanitize(const Config& config, Weights& weights) {
  for (const char* prefix : {"new.", "gte.", "roberta.", "nomic_bert."}) sanitize_encoder(weights, prefix);
  Weights::Tensors renamed;
  for (auto& [old, tensor] : weights.tensors()) {
    std::string name = old;
    for (const auto& [from, to] : kNames) {
      const size_t at = name.find(from);
      if (at != std::string::npos) name.replace(at, std::string(from).size(), to);
    }
    // A gated MLP has fc11, fc12 and fc2.
    const size_t mlp = old.find(".mlp.fc2."), down = name.find(".mlp.fc2.");
    if (mlp != std::string::npos && weights.has(old.substr(0, mlp) + ".mlp.fc11.weight")) {
      name.replace(down, std::string(".mlp.fc2.").size(), ".mlp.down_proj.");
    }
    renamed.emplace(std::move(name), std::move(tensor));
  }
  weights.tensors() = std::move(renamed);
  split_experts(weights, static_cast<int>(config.integer_or("num_experts", 1, 1, 4096)));
}

Rotation rotation(const Config& config, const EncoderConfig& c, const Options& options) {
  if (!config.has("rope_scaling") || config.object("rope_scaling").text_or("type", "") != "ntk") {
    return rotation_of(config, RopeSettings::read(config, c.head_dim, options.theta, {},
                                                  config.number_or("rotary_emb_fraction", 1, 0, 1)));
  }
  // The fixed NTK scaling of mGTE's own code: a larger base, and all frequencies lower.
  const Config scaling = config.object("rope_scaling");
  if (scaling.has("mixed_b")) {
    throw Error(ErrorKind::unsupported, fmt::format("[{}] mixed_b is not built in", scaling.place()));
  }
  const double factor = scaling.number("factor", 1, 1e9);
  Json plain = config.json();
  plain.erase("rope_scaling");
  RopeSettings settings = RopeSettings::read(Config(std::move(plain), config.place()), c.head_dim, options.theta);
  settings.theta *= factor;
  Rotation turns = rotation_of(config, settings);
  for (float& step : turns.steps) step = static_cast<float>(step / std::pow(factor, 2.0 / c.head_dim));
  return turns;
}

/// Refuses options of nomic's and mGTE's own code that no published model uses.
void refuse_unknown(const Config& config) {
  constexpr const char* kFlags[] = {"prenorm", "parallel_block",       "use_rms_norm",          "logn_attention_scale",
                                    "causal",  "expert_choice_router", "rotary_emb_interleaved"};
  for (const char* flag : kFlags) {
    if (config.flag_or(flag, false)) {
      throw Error(ErrorKind::unsupported, fmt::format("[{}] {} must be false", config.place(), flag));
    }
  }
  for (const char* key : {"rotary_scaling_factor", "rotary_emb_scale_base"}) {
    if (config.has(key)) throw Error(ErrorKind::unsupported, fmt::format("[{}] {} must be null", config.place(), key));
  }
  if (config.integer_or("num_shared_experts", 0, 0, 4096) != 0) {
    throw Error(ErrorKind::unsupported, fmt::format("[{}] num_shared_experts must be 0", config.place()));
  }
}

/// The experts of nomic's mixture, and the bias added to their sum.
class ExpertsLayer : public EncoderLayer {
 public:
  ExpertsLayer(EncoderAttention attention, Norm attention_norm, MixtureResidual mixture, mx::array bias, Norm mlp_norm)
      : attention_(std::move(attention)),
        attention_norm_(std::move(attention_norm)),
        mixture_(std::move(mixture)),
        bias_(std::move(bias)),
        mlp_norm_(std::move(mlp_norm)) {}
  mx::array operator()(const mx::array& x, const PackedTexts& texts) const override {
    const mx::array h = attention_norm_(attention_(x, texts));
    const mx::array y = mixture_(mx::expand_dims(h, 0));
    return mlp_norm_(mx::add(mx::squeeze(y, 0), bias_));
  }

 private:
  EncoderAttention attention_;
  Norm attention_norm_;
  MixtureResidual mixture_;
  mx::array bias_;
  Norm mlp_norm_;
};

std::unique_ptr<EncoderLayer> layer(const Config& config, const EncoderConfig& c, const WeightPath& path,
                                    const Rotation& turns) {
  const int hidden = c.hidden_size, wide = c.intermediate_size;
  const WeightPath attn = path / "self_attn", mlp = path / "mlp";
  std::vector<Linear> qkv;
  if (rows_at(attn / "qkv_proj") > 0) {
    qkv = linear_at(attn / "qkv_proj", hidden, 3 * hidden).split({hidden, hidden, hidden});
  } else {
    for (const char* name : {"q_proj", "k_proj", "v_proj"}) qkv.push_back(linear_at(attn / name, hidden, hidden));
  }
  EncoderAttention attention{
      {std::nullopt, std::move(qkv)}, {linear_at(attn / "o_proj", hidden, hidden)}, c.head_dim, 0, turns};
  LayerNorm attention_norm(path / "post_attention_layernorm", hidden, c.norm_eps);
  LayerNorm mlp_norm(path / "post_mlp_layernorm", hidden, c.norm_eps);
  const Activation act = read_activation(c.activation);
  if (rows_at(mlp / "router" / "layer") > 0) {
    const int experts = static_cast<int>(config.integer("num_experts", 1, 4096));
    RoutingRule rule;
    rule.top_k = static_cast<int>(config.integer_or("moe_top_k", 2, 1, experts));
    rule.normalise = config.flag_or("moe_normalize_expert_weights", false);
    const WeightPath stack = mlp / "experts";
    MixtureResidual mixture{std::nullopt, Router{Linear(mlp / "router" / "layer", hidden, experts), rule}, std::nullopt,
                            ExpertLinear(stack / "up_proj", experts, hidden, wide),
                            ExpertLinear(stack / "down_proj", experts, wide, hidden)};
    mixture.activation = act;
    mx::array bias = stack.has("bias") ? stack.take("bias", {hidden}) : mx::zeros({hidden});
    return std::make_unique<ExpertsLayer>(std::move(attention), std::move(attention_norm), std::move(mixture),
                                          std::move(bias), std::move(mlp_norm));
  }
  if (rows_at(mlp / "fc1") > 0) {
    MlpResidual plain{std::nullopt, linear_at(mlp / "fc1", hidden, wide), linear_at(mlp / "fc2", wide, hidden), act};
    return std::make_unique<EncoderBlock>(std::move(attention), std::move(plain), std::move(attention_norm),
                                          std::move(mlp_norm));
  }
  std::vector<Linear> in;  // up and gate
  if (rows_at(mlp / "up_gate_proj") > 0) {
    in = linear_at(mlp / "up_gate_proj", hidden, 2 * wide).split({wide, wide});
  } else {
    for (const char* name : {"up_proj", "gate_proj"}) in.push_back(linear_at(mlp / name, hidden, wide));
  }
  GatedMlpResidual gated{std::nullopt, in[1], in[0], linear_at(mlp / "down_proj", wide, hidden)};
  gated.activation = act;
  return std::make_unique<EncoderBlock>(std::move(attention), std::move(gated), std::move(attention_norm),
                                        std::move(mlp_norm));
}

std::unique_ptr<Encoder> make(const Config& config, Weights& weights, const Options& options) {
  EncoderConfig c = EncoderConfig::read(config, options.activation, options.norm_eps);
  if (c.activation == "swiglu") c.activation = "silu";
  refuse_unknown(config);
  sanitize(config, weights);
  const WeightPath root(weights), embeddings = root / "embeddings", head = root / "lm_head";
  const TaskAdapters adapters = TaskAdapters::read(config, weights);
  EncoderShape shape = c.shape();
  shape.tasks = adapters.tasks;

  EncoderStack::Parts parts{Embedding(embeddings / "word_embeddings", c.vocab_size, c.hidden_size)};
  if (embeddings.has("token_type_embeddings.weight")) {
    parts.type_vocab_size = std::max(c.type_vocab_size, 1);
    parts.token_types = Embedding(embeddings / "token_type_embeddings", parts.type_vocab_size, c.hidden_size);
  }
  Rotation turns;
  if (embeddings.has("position_embeddings.weight")) {
    parts.first_position = static_cast<int>(config.integer_or("pad_token_id", 1, 0, c.vocab_size - 1)) + 1;
    parts.positions = Embedding(embeddings / "position_embeddings", c.max_position_embeddings, c.hidden_size);
    shape.context_length = c.max_position_embeddings - parts.first_position;
    if (shape.context_length < 1) throw config.bad("max_position_embeddings", "must be above pad_token_id + 1");
  } else {
    turns = rotation(config, c, options);
  }
  parts.embedding_norm = LayerNorm(embeddings / "LayerNorm", c.hidden_size, c.norm_eps);
  parts.adapt = adapters.of_embeddings(embeddings, c.vocab_size, parts.type_vocab_size, c.hidden_size);
  for (int i = 0; i < c.num_hidden_layers; ++i) {
    const WeightPath path = root / "layers" / i;
    parts.layers.push_back(adapters.tasks.empty() ? layer(config, c, path, turns)
                                                  : make_adapted_layer(c, adapters, path, turns));
  }
  parts.classifier = options.roberta_head
                         ? class_head_at(root / "classifier" / "dense", root / "classifier" / "out_proj", c.hidden_size)
                         : class_head_at(root / "pooler" / "dense", root / "classifier", c.hidden_size);
  parts.masked_lm = masked_lm_at(c, {head / "dense", head / "layer_norm", head / "decoder", head}, "gelu",
                                 config.flag_or("tie_word_embeddings", true));
  drop_below(weights, {"pooler.", "lm_head.", "classifier.", "cls.", "qa_outputs."});
  return std::make_unique<EncoderStack>(std::move(shape), std::move(parts));
}

}  // namespace

std::unique_ptr<Encoder> make_gte(const Config& config, Weights& weights) {
  return make(config, weights, {.theta = 160000});
}

std::unique_ptr<Encoder> make_new(const Config& config, Weights& weights) { return make_gte(config, weights); }

std::unique_ptr<Encoder> make_nomic_bert(const Config& config, Weights& weights) {
  return make(config, weights, {.activation = "silu", .theta = 1000});
}

std::unique_ptr<Encoder> make_jina_embeddings_v3(const Config& config, Weights& weights) {
  return make(config, weights, {.theta = 20000, .norm_eps = 1e-5, .roberta_head = true});
}

}  // namespace mlxk
