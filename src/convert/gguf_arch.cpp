// Names: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and gguf-py's tensor_mapping.py there.
#include "convert/gguf_arch.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <set>

#include "base/error.h"

namespace mlxk {

namespace {
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxSize = 1 << 26;

struct Dims {
  int64_t hidden, inter, layers, heads, kv_heads, head_dim, vocab;
};

/// When a row of the table applies.
enum class Has { always, attention_bias, mlp_bias, untied };

struct NameRow {
  const char* gguf;
  const char* mlx;
  const char* shape;  // rows then columns: h hidden, f inter, q heads, k kv heads, d head_dim, v vocabulary
  Has when = Has::always;
};

constexpr NameRow kTop[] = {
    {"token_embd.weight", "model.embed_tokens.weight", "vh"},
    {"output_norm.weight", "model.norm.weight", "h"},
    {"output.weight", "lm_head.weight", "vh", Has::untied},
};

constexpr NameRow kProjections[] = {
    {"attn_q.weight", "self_attn.q_proj.weight", "qh"}, {"attn_k.weight", "self_attn.k_proj.weight", "kh"},
    {"attn_v.weight", "self_attn.v_proj.weight", "kh"}, {"attn_output.weight", "self_attn.o_proj.weight", "hq"},
    {"ffn_gate.weight", "mlp.gate_proj.weight", "fh"},  {"ffn_up.weight", "mlp.up_proj.weight", "fh"},
    {"ffn_down.weight", "mlp.down_proj.weight", "hf"},
};
constexpr NameRow kPreNorms[] = {
    {"attn_norm.weight", "input_layernorm.weight", "h"},
    {"ffn_norm.weight", "post_attention_layernorm.weight", "h"},
};
constexpr NameRow kSandwichNorms[] = {
    {"attn_norm.weight", "input_layernorm.weight", "h"},
    {"post_attention_norm.weight", "post_attention_layernorm.weight", "h"},
    {"ffn_norm.weight", "pre_feedforward_layernorm.weight", "h"},
    {"post_ffw_norm.weight", "post_feedforward_layernorm.weight", "h"},
};
constexpr NameRow kQkNorms[] = {
    {"attn_q_norm.weight", "self_attn.q_norm.weight", "d"},
    {"attn_k_norm.weight", "self_attn.k_norm.weight", "d"},
};
constexpr NameRow kQkvBiases[] = {
    {"attn_q.bias", "self_attn.q_proj.bias", "q", Has::attention_bias},
    {"attn_k.bias", "self_attn.k_proj.bias", "k", Has::attention_bias},
    {"attn_v.bias", "self_attn.v_proj.bias", "k", Has::attention_bias},
};
constexpr NameRow kOtherBiases[] = {
    {"attn_output.bias", "self_attn.o_proj.bias", "h", Has::attention_bias},
    {"ffn_gate.bias", "mlp.gate_proj.bias", "f", Has::mlp_bias},
    {"ffn_up.bias", "mlp.up_proj.bias", "f", Has::mlp_bias},
    {"ffn_down.bias", "mlp.down_proj.bias", "h", Has::mlp_bias},
};

struct Architecture {
  const char* gguf;
  const char* model_type;
  const char* class_name;
  const char* activation_key;
  const char* activation;
  std::vector<std::span<const NameRow>> layer_rows;
  bool explicit_head_dim;
};

const std::vector<Architecture>& architectures() {
  static const std::vector<Architecture> table = {
      {"gemma3",
       "gemma3_text",
       "Gemma3ForCausalLM",
       "hidden_activation",
       "gelu_pytorch_tanh",
       {kProjections, kSandwichNorms, kQkNorms},
       true},
      {"llama",
       "llama",
       "LlamaForCausalLM",
       "hidden_act",
       "silu",
       {kProjections, kPreNorms, kQkvBiases, kOtherBiases},
       false},
      {"qwen2", "qwen2", "Qwen2ForCausalLM", "hidden_act", "silu", {kProjections, kPreNorms, kQkvBiases}, false},
      {"qwen3", "qwen3", "Qwen3ForCausalLM", "hidden_act", "silu", {kProjections, kPreNorms, kQkNorms}, true},
  };
  return table;
}

/// The keys below `<architecture>.` that are read here or for the rope scaling.
constexpr std::array<std::string_view, 26> kUnderstood = {
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "expert_count",
    "expert_used_count",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.attn_factor",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "rope.scaling.yarn_log_multiplier",
    "vocab_size",
    "final_logit_softcapping",
    "attn_logit_softcapping",
};

/// Reads one architecture's keys.
class Keys {
 public:
  Keys(const GgufFile& file, std::string_view architecture) : file_(file), prefix_(std::string(architecture) + ".") {}

  std::string key(std::string_view name) const { return prefix_ + std::string(name); }

  int64_t size(std::string_view name, std::optional<int64_t> fallback = std::nullopt) const {
    const auto value = file_.integer(key(name));
    if (!value && fallback) return *fallback;
    if (!value) fail(name, "is missing");
    if (*value < 1 || *value > kMaxSize) fail(name, fmt::format("must be 1 to {}, got {}", kMaxSize, *value));
    return *value;
  }

  /// A positive float32 as the shortest decimal that gives the same float: 1e-05, not 9.999999747378752e-06.
  double number(std::string_view name, std::optional<double> fallback = std::nullopt) const {
    const auto value = file_.number(key(name));
    if (!value && fallback) return *fallback;
    if (!value) fail(name, "is missing");
    if (!std::isfinite(*value) || *value <= 0) fail(name, fmt::format("must be a positive number, got {}", *value));
    return std::strtod(fmt::format("{}", static_cast<float>(*value)).c_str(), nullptr);
  }

  [[noreturn]] void fail(std::string_view name, const std::string& what) const {
    throw Error(ErrorKind::bad_model, fmt::format("[gguf] {}: key {} {}", file_.place(), key(name), what));
  }

  [[noreturn]] void refuse(std::string_view name, const std::string& what) const {
    throw Error(ErrorKind::unsupported, fmt::format("[gguf] {}: key {} {}", file_.place(), key(name), what));
  }

 private:
  const GgufFile& file_;
  std::string prefix_;
};

Dims read_dims(const GgufFile& file, const Keys& keys) {
  Dims dims{};
  dims.hidden = keys.size("embedding_length");
  dims.inter = keys.size("feed_forward_length");
  dims.layers = keys.size("block_count");
  dims.heads = keys.size("attention.head_count");
  dims.kv_heads = keys.size("attention.head_count_kv", dims.heads);
  if (dims.layers > kMaxLayers)
    keys.fail("block_count", fmt::format("must be 1 to {}, got {}", kMaxLayers, dims.layers));
  if (dims.heads % dims.kv_heads != 0) {
    keys.fail("attention.head_count_kv", fmt::format("must divide the {} heads, got {}", dims.heads, dims.kv_heads));
  }
  const bool divides = dims.hidden % dims.heads == 0;
  dims.head_dim = keys.size("attention.key_length", divides ? std::optional(dims.hidden / dims.heads) : std::nullopt);
  if (dims.head_dim % 2 != 0) keys.fail("attention.key_length", fmt::format("must be even, got {}", dims.head_dim));
  if (keys.size("attention.value_length", dims.head_dim) != dims.head_dim) {
    keys.refuse("attention.value_length", "differs from key_length: not built in");
  }
  if (keys.size("rope.dimension_count", dims.head_dim) != dims.head_dim) {
    keys.refuse("rope.dimension_count", fmt::format("differs from the {} of a head: not built in", dims.head_dim));
  }
  const auto* embedding = file.find_tensor("token_embd.weight");
  if (!embedding || embedding->shape.size() != 2) {
    throw Error(ErrorKind::bad_model, fmt::format("[gguf] {}: no matrix token_embd.weight", file.place()));
  }
  dims.vocab = static_cast<int64_t>(embedding->rows());
  return dims;
}

int64_t extent(char code, const Dims& dims) {
  switch (code) {
    case 'h': return dims.hidden;
    case 'f': return dims.inter;
    case 'q': return dims.heads * dims.head_dim;
    case 'k': return dims.kv_heads * dims.head_dim;
    case 'd': return dims.head_dim;
    default: return dims.vocab;
  }
}

void add_target(const GgufFile& file, const NameRow& row, const std::string& from, const std::string& to,
                const Dims& dims, GgufModel& model) {
  const auto* tensor = file.find_tensor(from);
  if (!tensor) throw Error(ErrorKind::bad_model, fmt::format("[gguf] {}: tensor {} is missing", file.place(), from));
  std::vector<uint64_t> shape;
  for (const char* code = row.shape; *code; ++code) shape.push_back(static_cast<uint64_t>(extent(*code, dims)));
  if (tensor->shape != shape) {
    throw Error(ErrorKind::bad_model, fmt::format("[gguf] {}: tensor {} must be [{}], is [{}]", file.place(), from,
                                                  fmt::join(shape, ", "), fmt::join(tensor->shape, ", ")));
  }
  TensorTarget target{tensor, to};
  const std::string_view name = row.mlx;
  if (model.model_type == "llama" && name.find("q_proj") != name.npos) target.interleaved = dims.heads;
  if (model.model_type == "llama" && name.find("k_proj") != name.npos) target.interleaved = dims.kv_heads;
  if (model.model_type == "gemma3_text" && name.find("norm") != name.npos) target.shift = -1;
  model.tensors.push_back(std::move(target));
}

void read_tensors(const GgufFile& file, const Architecture& architecture, const Dims& dims, GgufModel& model) {
  const bool attention_bias = architecture.gguf == std::string_view("qwen2") || file.find_tensor("blk.0.attn_q.bias");
  const bool mlp_bias = file.find_tensor("blk.0.ffn_gate.bias");
  const bool untied = file.find_tensor("output.weight");
  const auto applies = [&](Has when) {
    return when == Has::always || (when == Has::attention_bias && attention_bias) ||
           (when == Has::mlp_bias && mlp_bias) || (when == Has::untied && untied);
  };
  for (const auto& row : kTop) {
    if (applies(row.when)) add_target(file, row, row.gguf, row.mlx, dims, model);
  }
  for (int64_t layer = 0; layer < dims.layers; ++layer) {
    for (const auto rows : architecture.layer_rows) {
      for (const auto& row : rows) {
        if (!applies(row.when)) continue;
        add_target(file, row, fmt::format("blk.{}.{}", layer, row.gguf),
                   fmt::format("model.layers.{}.{}", layer, row.mlx), dims, model);
      }
    }
  }
  std::set<const GgufTensor*> used;
  for (const auto& target : model.tensors) used.insert(target.source);
  for (const auto& tensor : file.tensors()) {
    if (used.count(&tensor) || tensor.name == "rope_freqs.weight") continue;
    const auto name = tensor.name;
    if (name.size() > 19 && name.substr(name.size() - 19) == "rotary_emb.inv_freq") continue;
    throw Error(ErrorKind::unsupported,
                fmt::format("[gguf] {}: tensor {} has no place in {}", file.place(), name, architecture.gguf));
  }
  std::sort(model.tensors.begin(), model.tensors.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  model.config["tie_word_embeddings"] = !untied;
  if (model.model_type == "llama") {
    model.config["attention_bias"] = attention_bias;
    model.config["mlp_bias"] = mlp_bias;
  }
}

void read_config(const GgufFile& file, const Architecture& architecture, const Keys& keys, const Dims& dims,
                 GgufModel& model) {
  auto& config = model.config;
  config["architectures"] = Json::array({architecture.class_name});
  config["model_type"] = architecture.model_type;
  config[architecture.activation_key] = architecture.activation;
  config["hidden_size"] = dims.hidden;
  config["intermediate_size"] = dims.inter;
  config["num_hidden_layers"] = dims.layers;
  config["num_attention_heads"] = dims.heads;
  config["num_key_value_heads"] = dims.kv_heads;
  if (architecture.explicit_head_dim || file.has(keys.key("attention.key_length"))) config["head_dim"] = dims.head_dim;
  config["rms_norm_eps"] = keys.number("attention.layer_norm_rms_epsilon");
  config["rope_theta"] = keys.number("rope.freq_base", model.model_type == "gemma3_text" ? 1e6 : 1e4);
  const auto scaling = read_gguf_rope_scaling(file, architecture.gguf, dims.head_dim);
  if (!scaling.is_null()) config["rope_scaling"] = scaling;
  config["max_position_embeddings"] = keys.size("context_length");
  config["vocab_size"] = dims.vocab;
  if (model.model_type == "gemma3_text") {
    // The 27B model (62 layers) scales its queries by the hidden size per head, the others by the head's size.
    config["query_pre_attn_scalar"] = dims.layers == 62 ? dims.hidden / dims.heads : dims.head_dim;
    config["rope_local_base_freq"] = keys.number("rope.freq_base_swa", 1e4);
    config["sliding_window"] = keys.size("attention.sliding_window");
    config["sliding_window_pattern"] = keys.size("attention.sliding_window_pattern", 6);
  } else if (file.integer(keys.key("attention.sliding_window")).value_or(0) > 0) {
    keys.refuse("attention.sliding_window", "is set: sliding layers are not built in here");
  }
}

void refuse_features(const GgufFile& file, const Keys& keys) {
  if (file.integer("split.count").value_or(1) > 1) {
    throw Error(ErrorKind::unsupported,
                fmt::format("[gguf] {}: key split.count is {}: one part of a split file is not a model", file.place(),
                            *file.integer("split.count")),
                "join the parts first (llama-gguf-split --merge)");
  }
  if (file.integer(keys.key("expert_count")).value_or(0) > 0)
    keys.refuse("expert_count", "is set: mixtures of experts are not built in here");
  for (const char* name : {"final_logit_softcapping", "attn_logit_softcapping"}) {
    if (file.number(keys.key(name)).value_or(0) != 0) keys.refuse(name, "is set: not built in here");
  }
}
}  // namespace

GgufModel read_gguf_model(const GgufFile& file, std::vector<std::string>& warnings) {
  const auto name = file.string("general.architecture");
  if (!name) throw Error(ErrorKind::bad_model, fmt::format("[gguf] {}: no key general.architecture", file.place()));
  std::string known;
  for (const auto& architecture : architectures()) {
    known += known.empty() ? architecture.gguf : std::string(", ") + architecture.gguf;
    if (*name != architecture.gguf) continue;
    const Keys keys(file, *name);
    refuse_features(file, keys);
    for (const auto& [key, value] : file.metadata()) {
      const auto prefix = keys.key("");
      if (key.substr(0, prefix.size()) != prefix) continue;
      if (std::find(kUnderstood.begin(), kUnderstood.end(), key.substr(prefix.size())) == kUnderstood.end()) {
        warnings.push_back(fmt::format("unknown key {} is ignored", key));
      }
    }
    GgufModel model;
    model.model_type = architecture.model_type;
    const auto dims = read_dims(file, keys);
    model.vocab_rows = dims.vocab;
    read_config(file, architecture, keys, dims, model);
    read_tensors(file, architecture, dims, model);
    return model;
  }
  throw Error(ErrorKind::unsupported,
              fmt::format("[gguf] {}: architecture \"{}\" is not built in", file.place(), name->substr(0, 80)),
              "known: " + known);
}

}  // namespace mlxk
