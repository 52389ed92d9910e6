#include "models/audio/seq2seq_net.h"

#include <fmt/format.h>

#include "base/error.h"
#include "models/step.h"
#include "nn/cache/kv_cache.h"

namespace mlxk {

WindowKeys Seq2SeqNet::window_keys(const mx::array& frames) const {
  WindowKeys keys;
  for (int layer = 0; layer < decoder_.num_layers; ++layer) keys.push_back(cross_projection(layer)(frames));
  return keys;
}

ModelCache Seq2SeqNet::make_cache(int rows) const {
  std::vector<std::unique_ptr<Cache>> layers;
  for (int layer = 0; layer < decoder_.num_layers; ++layer) layers.push_back(std::make_unique<KVCache>(rows));
  return ModelCache(std::move(layers));
}

Positions Seq2SeqNet::text_positions_of(const Inputs& inputs, const ModelCache& cache,
                                        const std::vector<const WindowKeys*>& windows) const {
  Positions positions = positions_of(inputs, cache, decoder_);
  if (windows.size() != static_cast<size_t>(positions.rows())) {
    throw Error(ErrorKind::invalid,
                fmt::format("[{}] {} windows for {} texts", shape_.model_type, windows.size(), positions.rows()));
  }
  for (int row = 0; row < positions.rows(); ++row) {
    if (positions.end(row) <= shape_.text_positions) continue;
    throw Error(ErrorKind::invalid, fmt::format("[{}] {} tokens are more than the {} of the model", shape_.model_type,
                                                positions.end(row), shape_.text_positions));
  }
  return positions;
}

std::vector<const CrossKeys*> Seq2SeqNet::keys_of(const std::vector<const WindowKeys*>& windows, size_t layer) {
  std::vector<const CrossKeys*> keys;
  for (const WindowKeys* one : windows) keys.push_back(&(*one)[layer]);
  return keys;
}

}  // namespace mlxk
