#include "models/text/language_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "json/json.h"
#include "models/registry.h"
#include "probe/built_in.h"

namespace mlxk {
namespace {

constexpr std::string_view kLanguage[] = {"language_model.", "model.language_model.", "model.text_model."};
constexpr std::string_view kImages[] = {"visual.",
                                        "model.visual.",
                                        "vision_tower.",
                                        "vision_model.",
                                        "model.vision_embed_tokens.",
                                        "model.vision_tower.",
                                        "model.mm_projector.",
                                        "mm_projector.",
                                        "model.vision_backbone.",
                                        "model.vision_model.",
                                        "model.sam_model.",
                                        "sam_model.",
                                        "model.projector.",
                                        "projector.",
                                        "model.image_newline",
                                        "image_newline",
                                        "model.view_seperator",
                                        "view_separator"};

/// The prefix among `prefixes` that the name has; empty: none.
template <size_t N>
std::string_view prefix_of(std::string_view name, const std::string_view (&prefixes)[N]) {
  const auto* found =
      std::find_if(std::begin(prefixes), std::end(prefixes), [&](std::string_view p) { return name.starts_with(p); });
  return found == std::end(prefixes) ? std::string_view() : *found;
}

bool is_head(std::string_view name) { return name.starts_with("lm_head.") || name.starts_with("output."); }

/// The name of a tensor in a text checkpoint; nullopt: it does not belong to the language model. `nested`: some tensors
/// have a prefix of the language model, so that only the head may be without one.
std::optional<std::string> text_name(std::string_view name, bool nested) {
  const std::string_view prefix = prefix_of(name, kLanguage);
  if (prefix.empty()) {
    if (nested ? !is_head(name) : !prefix_of(name, kImages).empty()) return std::nullopt;
    return std::string(name);
  }
  const std::string_view rest = name.substr(prefix.size());
  return rest.starts_with("model.") || is_head(rest) ? std::string(rest) : fmt::format("model.{}", rest);
}

/// `config` with the layers in its quantization named as in a text checkpoint.
Config with_text_names(const Config& config, bool nested) {
  Json json = config.json();
  for (const char* key : {"quantization", "quantization_config"}) {
    if (!config.has(key) || !json[key].is_object()) continue;
    Json renamed = Json::object();
    for (const auto& [path, value] : json[key].items()) {
      const bool is_layer = value.is_object() || value.is_boolean();
      const auto name = is_layer ? text_name(path + ".", nested) : path + ".";
      if (name) renamed[name->substr(0, name->size() - 1)] = value;
    }
    json[key] = std::move(renamed);
  }
  return Config(std::move(json), config.place());
}

/// The key of the language model's configuration, or null.
const char* text_key(const Config& config) {
  for (const char* key : {"text_config", "llm_config", "language_config", "decoder_config"}) {
    if (config.has(key)) return key;
  }
  return nullptr;
}

/// Defaults of transformers' class for keys that text_config leaves out.
Json class_defaults(std::string_view type) {
  Json all = {{"hidden_size", 4096}, {"num_hidden_layers", 32}, {"num_attention_heads", 32}};
  if (type == "llama") {
    all.update({{"intermediate_size", 11008}, {"vocab_size", 32000}, {"max_position_embeddings", 2048}});
  } else if (type == "mistral") {
    all.update({{"intermediate_size", 14336},
                {"vocab_size", 32000},
                {"max_position_embeddings", 131072},
                {"num_key_value_heads", 8}});
  } else if (type == "qwen2" || type == "qwen3") {
    all.update({{"intermediate_size", 22016}, {"vocab_size", 151936}, {"max_position_embeddings", 32768}});
    if (type == "qwen3") all["head_dim"] = 128;
  } else if (type == "gemma") {
    all = {{"hidden_size", 3072},        {"num_hidden_layers", 28}, {"num_attention_heads", 16},
           {"intermediate_size", 24576}, {"vocab_size", 256000},    {"max_position_embeddings", 8192},
           {"num_key_value_heads", 16},  {"head_dim", 256}};
  } else if (type == "gemma2") {
    all = {{"hidden_size", 2304},       {"num_hidden_layers", 26}, {"num_attention_heads", 8},
           {"intermediate_size", 9216}, {"vocab_size", 256000},    {"max_position_embeddings", 8192},
           {"num_key_value_heads", 4},  {"head_dim", 256},         {"sliding_window", 4096}};
  } else if (type == "qwen3_moe") {
    all = {{"norm_topk_prob", true}};  // Qwen3-VL's always normalises
  } else {
    return Json::object();
  }
  return all;
}

}  // namespace

Config keep_language_model(const Config& config, Weights& weights) {
  auto& tensors = weights.tensors();
  const bool nested = std::any_of(tensors.begin(), tensors.end(),
                                  [](const auto& entry) { return !prefix_of(entry.first, kLanguage).empty(); });
  Weights::Tensors kept;
  for (auto& [name, tensor] : tensors) {
    if (auto own = text_name(name, nested)) kept.emplace(std::move(*own), std::move(tensor));
  }
  const bool has_head = std::any_of(kept.begin(), kept.end(), [](const auto& entry) { return is_head(entry.first); });
  weights.replace(std::move(kept), QuantizationConfig(with_text_names(config, nested)));
  weights.record_as_part_of(weights, "language_model.");  // as mlx-lm names them

  const char* key = text_key(config);
  if (!key) return config;
  const Config text = config.object(key);
  Json json = text.json();
  if (!text.has("vocab_size") && config.has("vocab_size")) json["vocab_size"] = config.json()["vocab_size"];
  // Some configurations have it in text_config, some at the top level, and some leave it to the weights.
  const Config& says = text.has("tie_word_embeddings") ? text : config;
  json["tie_word_embeddings"] = !has_head || says.flag_or("tie_word_embeddings", false);
  return Config(std::move(json), config.place() + " " + key);
}

std::string text_type(const Config& config, const char* fallback) {
  const char* key = text_key(config);
  return key ? config.object(key).text_or("model_type", fallback) : fallback;
}

std::unique_ptr<Model> make_language_model(const Config& config, Weights& weights, const std::string& type) {
  const Config text = keep_language_model(config, weights);
  const Maker<Model> make = find_maker(type);
  if (!make) {
    throw Error(ErrorKind::unsupported,
                fmt::format("[{}] model_type '{}' {}", text.place(), type, built_in().refusal(ModelKind::text, type)));
  }
  Json json = class_defaults(type);
  for (const auto& [key, value] : text.json().items()) {
    if (!value.is_null() || !json.contains(key)) json[key] = value;
  }
  return make(Config(std::move(json), text.place()), weights);
}

}  // namespace mlxk
