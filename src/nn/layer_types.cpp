#include "nn/layer_types.h"

#include <fmt/format.h>

namespace mlxk {

std::vector<bool> sliding_layers(const Config& config, int layers, int pattern) {
  std::vector<bool> sliding;
  const Json* list = config.find("layer_types");
  if (!list) {
    for (int layer = 0; layer < layers; ++layer) sliding.push_back(pattern > 0 && (layer + 1) % pattern != 0);
    return sliding;
  }
  if (!list->is_array() || list->size() != static_cast<size_t>(layers)) {
    throw config.bad("layer_types", fmt::format("must have {} entries", layers));
  }
  for (const auto& type : *list) {
    if (type != "sliding_attention" && type != "full_attention") {
      throw config.bad("layer_types",
                       fmt::format("must hold sliding_attention and full_attention, got {}", type.dump()));
    }
    sliding.push_back(type == "sliding_attention");
  }
  return sliding;
}

}  // namespace mlxk
