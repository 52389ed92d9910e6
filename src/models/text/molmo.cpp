// Molmo's language model (https://arxiv.org/abs/2409.17146): Qwen2's block with other tensor names. Image tokens have
// vectors in a second table after the vocabulary's, and no logits.
#include <fmt/format.h>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"
#include "models/text/language_model.h"
#include "models/text/tensor_names.h"

namespace mlxk {
namespace {

constexpr BlockOptions kMolmo{.defaults = {.hidden_size = 3584,
                                           .num_hidden_layers = 28,
                                           .num_attention_heads = 28,
                                           .num_key_value_heads = 4,
                                           .vocab_size = 152064,
                                           .max_position_embeddings = 4096,
                                           .norm_eps = 1e-5,
                                           .tie_word_embeddings = false},
                              .names = {.layers = "blocks",
                                        .attention_norm = "attn_norm",
                                        .mlp_norm = "ff_norm",
                                        .attention = "",
                                        .o = "attn_out",
                                        .qkv = "att_proj",
                                        .mlp = "",
                                        .down = "ff_out",
                                        .up_gate = "ff_proj"},
                              .qkv_bias_key = "qkv_bias",
                              .qkv_bias = true,
                              .theta = 1e6};

/// `config` with mlx-vlm's keys renamed to transformers', and half of ff_proj's rows as intermediate_size.
Config with_usual_keys(const Config& config) {
  Json json = config.json();
  for (const auto& [own, usual] : {std::pair{"d_model", "hidden_size"},
                                   {"n_heads", "num_attention_heads"},
                                   {"n_kv_heads", "num_key_value_heads"},
                                   {"n_layers", "num_hidden_layers"},
                                   {"mlp_hidden_size", "intermediate_size"}}) {
    if (config.has(own)) json[usual] = json[own];
  }
  const Config usual(json, config.place());
  const auto wide = usual.integer_or("intermediate_size", 37888, 2, 1 << 20);
  json["intermediate_size"] = wide / 2;
  for (const char* key : {"attention_layer_norm", "norm_after"}) {
    if (!usual.flag_or(key, false)) continue;
    throw Error(ErrorKind::unsupported, fmt::format("[{}] {} is not built in", config.place(), key));
  }
  return Config(std::move(json), config.place());
}

/// Concatenates the tables `embedding` and `new_embedding` into `weight`. Returns the total number of rows.
int join_tables(const WeightPath& path, int rows, int more, int hidden) {
  Weights& weights = path.weights();
  std::vector<mx::array> tables;
  for (const auto& [name, count] : {std::pair{"embedding", rows}, {"new_embedding", more}}) {
    const std::string full = (path / name).path();
    if (weights.has(full)) tables.push_back(weights.take_to_compute(full));
    if (tables.empty() || tables.back().shape() != mx::Shape{count, hidden}) {
      weights.note(fmt::format("{} must be [{}, {}]", full, count, hidden));
      return rows + more;
    }
  }
  if (tables.size() == 2) weights.compute((path / "weight").path(), mx::concatenate(tables, 0));
  return rows + more;
}

}  // namespace

std::unique_ptr<Model> make_molmo(const Config& config, Weights& weights) {
  const Config text = with_usual_keys(keep_language_model(config, weights));
  rename_tensors(weights, {{"model.transformer.", "model."}});
  BlockConfig c = read_block(text, kMolmo);
  const int rows = static_cast<int>(text.integer_or("embedding_size", c.vocab_size, 1, 1 << 24));
  const int more = static_cast<int>(text.integer_or("additional_vocab_size", 128, 1, 1 << 16));
  const WeightPath root = WeightPath(weights) / "model";
  sanitize_block(c, weights, root.path());

  const int vocab = c.vocab_size;
  c.vocab_size = join_tables(root / "wte", rows, more, c.hidden_size);
  Decoder::Parts parts{Embedding(root / "wte", c.vocab_size, c.hidden_size)};
  parts.norm = make_norm(c.options.norm, root / "ln_f", c.hidden_size, c.norm_eps);
  parts.head.emplace(root / "ff_out", c.hidden_size, vocab);
  parts.tokens_without_logit = c.vocab_size - vocab;
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    parts.layers.push_back(make_block(c, layer, root / c.options.names.layers / layer));
  }
  return std::make_unique<Decoder>(shape_of(c), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
