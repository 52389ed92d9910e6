#include "models/text/shared_kv.h"

#include <fmt/format.h>

namespace mlxk {

SharedKv SharedKv::read(const Config& config, const DecoderConfig& c) {
  const int layers = c.num_hidden_layers;
  const int first = layers - static_cast<int>(config.integer_or("num_kv_shared_layers", 0, 0, layers - 1));
  SharedKv shared{std::vector<int>(static_cast<size_t>(layers), -1), std::vector<bool>(static_cast<size_t>(layers))};
  for (int layer = first; layer < layers; ++layer) {
    int source = first - 1;
    while (source >= 0 && c.slides(source) != c.slides(layer)) --source;
    if (source < 0) {
      throw config.bad("num_kv_shared_layers",
                       fmt::format("leaves no layer whose keys and values layer {} can read", layer));
    }
    shared.source[static_cast<size_t>(layer)] = source;
    shared.is_read[static_cast<size_t>(source)] = true;
  }
  return shared;
}

std::vector<std::unique_ptr<Cache>> SharedKv::make_caches(int layer, int rows, int window) const {
  return attention_cache(rows, is_read[static_cast<size_t>(layer)] ? 0 : window);
}

int SharedKv::mask_window(int layer, int window) const {
  return is_read[static_cast<size_t>(layer)] || source[static_cast<size_t>(layer)] >= 0 ? window : 0;
}

}  // namespace mlxk
