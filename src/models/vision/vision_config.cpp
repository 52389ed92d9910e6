#include "models/vision/vision_config.h"

#include <fmt/format.h>

#include "json/json.h"
#include "nn/activation.h"

namespace mlxk {

int read_side(const Config& config, const char* key, int fallback, int high) {
  const Json* value = config.find(key);
  if (!value || !value->is_array()) return static_cast<int>(config.integer_or(key, fallback, 1, high));
  for (const Json& one : *value) {
    const bool whole = one.is_number_integer() && one.get<int64_t>() >= 1 && one.get<int64_t>() <= high;
    if (!whole || one != value->front()) {
      throw config.bad(key, fmt::format("must hold one number in [1, {}] for both sides, got {}", high, value->dump()));
    }
  }
  if (value->empty()) throw config.bad(key, "must not be empty");
  return value->front().get<int>();
}

Config with_keys(const Config& vision, std::initializer_list<std::pair<const char*, const char*>> from_to) {
  Json json = vision.json();
  for (const auto& [from, to] : from_to) {
    if (vision.has(from)) json[to] = vision.json()[from];
  }
  return Config(std::move(json), vision.place());
}

Config vision_config(const Config& config) {
  if (config.has("vision_config")) return config.object("vision_config");
  return Config(Json::object(), config.place() + " vision_config");
}

double rope_theta(const Config& vision, double fallback) {
  const bool nested = vision.has("rope_parameters") && vision.object("rope_parameters").has("rope_theta");
  return (nested ? vision.object("rope_parameters") : vision).number_or("rope_theta", fallback, 1, 1e12);
}

int text_hidden_size(const Config& config, int fallback) {
  constexpr int kWide = 1 << 20;
  for (const char* key : {"text_config", "llm_config", "language_config", "decoder_config"}) {
    if (!config.has(key)) continue;
    const Config text = config.object(key);
    if (text.has("hidden_size")) return static_cast<int>(text.integer("hidden_size", 1, kWide));
  }
  if (fallback == 0) return static_cast<int>(config.integer("hidden_size", 1, kWide));
  return static_cast<int>(config.integer_or("hidden_size", fallback, 1, kWide));
}

VisionConfig VisionConfig::read(const Config& vision, const VisionDefaults& d) {
  constexpr int kWide = 1 << 16, kSide = 1 << 14;
  const auto integer = [&](const char* key, int fallback, int high) {
    return static_cast<int>(vision.integer_or(key, fallback, 1, high));
  };
  VisionConfig c;
  c.hidden_size = integer("hidden_size", d.hidden_size, kWide);
  c.intermediate_size = integer("intermediate_size", d.intermediate_size, 4 * kWide);
  c.num_hidden_layers = integer("num_hidden_layers", d.num_hidden_layers, 1024);
  c.num_attention_heads = integer("num_attention_heads", d.num_attention_heads, 1024);
  c.image_size = read_side(vision, "image_size", d.image_size, kSide);
  c.patch_size = read_side(vision, "patch_size", d.patch_size, kSide);
  c.channels = integer("num_channels", 3, 3);
  c.eps = static_cast<float>(vision.number_or("layer_norm_eps", d.eps, 0, 1));
  const std::string activation = vision.text_or("hidden_act", d.activation);
  try {
    c.activation = read_activation(activation);
  } catch (const Error&) {
    throw Error(ErrorKind::unsupported,
                fmt::format("[{}] hidden_act '{}' is not built in", vision.place(), activation));
  }
  if (c.hidden_size % c.num_attention_heads != 0) {
    throw vision.bad("hidden_size", fmt::format("must be a multiple of num_attention_heads, got {} and {}",
                                                c.hidden_size, c.num_attention_heads));
  }
  c.head_dim = c.hidden_size / c.num_attention_heads;
  if (c.patch_size > c.image_size) {
    throw vision.bad("patch_size",
                     fmt::format("must be at most image_size, got {} and {}", c.patch_size, c.image_size));
  }
  return c;
}

}  // namespace mlxk
