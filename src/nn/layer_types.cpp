#include "nn/layer_types.h"

#include <fmt/format.h>

#include <utility>

#include "json/json.h"

namespace mlxk {

LayerType read_layer_type(const Config& config, const char* key, const Json& word) {
  constexpr std::pair<const char*, LayerType> kWords[] = {
      {"full_attention", LayerType::full},
      {"attention", LayerType::full},
      {"sliding_attention", LayerType::sliding},
      {"chunked_attention", LayerType::chunked},
      {"linear_attention", LayerType::linear},
      {"mamba", LayerType::mamba},
      {"conv", LayerType::conv},
      {"mlp", LayerType::mlp},
  };
  for (const auto& [name, type] : kWords) {
    if (word == name) return type;
  }
  throw config.bad(key, fmt::format("must hold types of layers such as full_attention, got {}", word.dump()));
}

std::vector<LayerType> layer_types(const Config& config, int layers, int pattern) {
  std::vector<LayerType> types;
  const Json* list = config.find("layer_types");
  if (!list) {
    // Qwen's first max_window_layers have full attention, the others a window; mlx-lm ignores that.
    const bool windows = config.has("sliding_window") && config.flag_or("use_sliding_window", false);
    const int64_t without = windows ? config.integer_or("max_window_layers", 28, 0, 1 << 20) : layers;
    for (int layer = 0; layer < layers; ++layer) {
      const bool slides = pattern > 0 ? (layer + 1) % pattern != 0 : layer >= without;
      types.push_back(slides ? LayerType::sliding : LayerType::full);
    }
    return types;
  }
  if (!list->is_array() || list->size() != static_cast<size_t>(layers)) {
    throw config.bad("layer_types", fmt::format("must have {} entries", layers));
  }
  for (const auto& word : *list) types.push_back(read_layer_type(config, "layer_types", word));
  return types;
}

}  // namespace mlxk
