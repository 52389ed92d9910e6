// Llama 3.2 Vision (https://arxiv.org/abs/2407.21783) for prompts without images: a llama block without the layers that
// attend to images, which transformers skips in this case.
#include <fmt/format.h>

#include <algorithm>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"
#include "models/text/language_model.h"

namespace mlxk {
namespace {

constexpr BlockOptions kMllama{.defaults = {.hidden_size = 4096,
                                            .num_hidden_layers = 40,
                                            .num_attention_heads = 32,
                                            .num_key_value_heads = 8,
                                            .vocab_size = 128256,
                                            .intermediate_size = 14336,
                                            .max_position_embeddings = 131072,
                                            .norm_eps = 1e-5,
                                            .tie_word_embeddings = false},
                               .theta = 5e5};

/// For each layer, whether it attends to images.
std::vector<bool> cross_attention_layers(const Config& config, int layers) {
  const Json* list = config.find("cross_attention_layers");
  const Json usual = {3, 8, 13, 18, 23, 28, 33, 38};
  std::vector<bool> crosses(static_cast<size_t>(layers), false);
  if (list && !list->is_array()) throw config.bad("cross_attention_layers", "must be a list");
  for (const Json& layer : list ? *list : usual) {
    if (!layer.is_number_unsigned() || layer.get<uint64_t>() >= crosses.size()) {
      throw config.bad("cross_attention_layers",
                       fmt::format("must hold numbers of layers below {}, got {}", layers, layer.dump()));
    }
    crosses[layer.get<size_t>()] = true;
  }
  return crosses;
}

/// The rows after the vocabulary belong to image tokens.
void cut_embedding(int vocab, Weights& weights) {
  for (const char* leaf : {"weight", "scales", "biases"}) {
    const auto found = weights.tensors().find(fmt::format("model.embed_tokens.{}", leaf));
    if (found == weights.tensors().end()) continue;
    mx::array& table = found->second;
    if (table.ndim() == 2 && table.shape(0) > vocab) table = mx::slice(table, {0, 0}, {vocab, table.shape(1)});
  }
}

}  // namespace

std::unique_ptr<Model> make_mllama(const Config& config, Weights& weights) {
  const Config text = keep_language_model(config, weights);
  BlockConfig c = read_block(text, kMllama);
  const std::vector<bool> crosses = cross_attention_layers(text, c.num_hidden_layers);
  if (std::count(crosses.begin(), crosses.end(), false) == 0) {
    throw text.bad("cross_attention_layers", "must leave a layer that attends to text");
  }
  cut_embedding(c.vocab_size, weights);
  sanitize_block(c, weights);

  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const WeightPath path = root / c.options.names.layers / layer;
    if (crosses[static_cast<size_t>(layer)]) {
      weights.drop([start = path.path() + "."](const std::string& name) { return name.starts_with(start); });
    } else {
      parts.layers.push_back(make_block(c, layer, path));
    }
  }
  return std::make_unique<Decoder>(shape_of(c), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
