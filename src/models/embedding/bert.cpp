// BERT (https://arxiv.org/abs/1810.04805), and RoBERTa (https://arxiv.org/abs/1907.11692) and XLM-RoBERTa
// (https://arxiv.org/abs/1911.02116), which are BERT with positions counted from the padding's id on and other heads.
// Keys and tensors as in transformers' bert and xlm_roberta; heads for sparse and late-interaction retrieval as in
// BGE-M3 (https://arxiv.org/abs/2402.03216).
#include <fmt/format.h>

#include <algorithm>

#include "models/embedding/encoder_block.h"

namespace mlxk {

std::unique_ptr<Encoder> make_jina_embeddings_v3(const Config& config, Weights& weights);  // rotary_bert.cpp

namespace {

std::unique_ptr<EncoderLayer> bert_layer(const EncoderConfig& c, const WeightPath& path) {
  const int hidden = c.hidden_size;
  const WeightPath self = path / "attention" / "self", attended = path / "attention" / "output", out = path / "output";
  EncoderAttention attention{{std::nullopt,
                              {Linear(self / "query", hidden, hidden, true), Linear(self / "key", hidden, hidden, true),
                               Linear(self / "value", hidden, hidden, true)}},
                             {Linear(attended / "dense", hidden, hidden, true)},
                             c.head_dim};
  MlpResidual mlp{std::nullopt, Linear(path / "intermediate" / "dense", hidden, c.intermediate_size, true),
                  Linear(out / "dense", c.intermediate_size, hidden, true), read_activation(c.activation)};
  return std::make_unique<EncoderBlock>(std::move(attention), std::move(mlp),
                                        LayerNorm(attended / "LayerNorm", hidden, c.norm_eps),
                                        LayerNorm(out / "LayerNorm", hidden, c.norm_eps));
}

/// Everything but the heads; the first token of a text uses entry `first_position` of the position table.
EncoderStack::Parts parts_of(const EncoderConfig& c, const WeightPath& root, int first_position) {
  const WeightPath embeddings = root / "embeddings";
  EncoderStack::Parts parts{Embedding(embeddings / "word_embeddings", c.vocab_size, c.hidden_size)};
  parts.positions = Embedding(embeddings / "position_embeddings", c.max_position_embeddings, c.hidden_size);
  parts.first_position = first_position;
  parts.token_types = Embedding(embeddings / "token_type_embeddings", c.type_vocab_size, c.hidden_size);
  parts.type_vocab_size = c.type_vocab_size;
  parts.embedding_norm = LayerNorm(embeddings / "LayerNorm", c.hidden_size, c.norm_eps);
  for (int i = 0; i < c.num_hidden_layers; ++i) parts.layers.push_back(bert_layer(c, root / "encoder" / "layer" / i));
  return parts;
}

EncoderConfig read(const Config& config) {
  EncoderConfig c = EncoderConfig::read(config);
  if (c.type_vocab_size == 0) c.type_vocab_size = 1;
  return c;
}

std::unique_ptr<Encoder> roberta(const Config& config, Weights& weights) {
  const EncoderConfig c = read(config);
  const int first = static_cast<int>(config.integer_or("pad_token_id", 1, 0, c.vocab_size - 1)) + 1;
  if (first >= c.max_position_embeddings) {
    throw config.bad("max_position_embeddings",
                     fmt::format("must be above pad_token_id + 1, got {}", c.max_position_embeddings));
  }
  sanitize_encoder(weights, "roberta.");
  const WeightPath root(weights), classifier = root / "classifier", head = root / "lm_head";
  EncoderStack::Parts parts = parts_of(c, root, first);
  parts.classifier = class_head_at(classifier / "dense", classifier / "out_proj", c.hidden_size);
  parts.masked_lm = masked_lm_at(c, {head / "dense", head / "layer_norm", head / "decoder", head}, "gelu",
                                 config.flag_or("tie_word_embeddings", true));
  if (rows_at(root / "sparse_linear") > 0) parts.sparse = Linear(root / "sparse_linear", c.hidden_size, 1, true);
  if (const int size = rows_at(root / "colbert_linear")) {
    parts.colbert = Linear(root / "colbert_linear", c.hidden_size, size, true);
  }
  drop_below(weights, {"pooler.", "lm_head.", "classifier.", "qa_outputs."});
  EncoderShape shape = c.shape();
  shape.context_length = c.max_position_embeddings - first;
  return std::make_unique<EncoderStack>(std::move(shape), std::move(parts));
}

}  // namespace

std::unique_ptr<Encoder> make_bert(const Config& config, Weights& weights) {
  const EncoderConfig c = read(config);
  sanitize_encoder(weights, "bert.");
  const WeightPath root(weights), predictions = root / "cls" / "predictions", transform = predictions / "transform";
  EncoderStack::Parts parts = parts_of(c, root, 0);
  parts.classifier = class_head_at(root / "pooler" / "dense", root / "classifier", c.hidden_size);
  parts.masked_lm =
      masked_lm_at(c, {transform / "dense", transform / "LayerNorm", predictions / "decoder", predictions},
                   c.activation, config.flag_or("tie_word_embeddings", true));
  // ColBERT (https://arxiv.org/abs/2112.01488)
  if (const int size = rows_at(root / "linear")) parts.colbert = Linear(root / "linear", c.hidden_size, size, false);
  drop_below(weights, {"pooler.", "cls.", "classifier.", "qa_outputs."});
  return std::make_unique<EncoderStack>(c.shape(), std::move(parts));
}

// ELECTRA (https://arxiv.org/abs/2003.10555): BERT's body with RoBERTa's classification head.
std::unique_ptr<Encoder> make_electra(const Config& config, Weights& weights) {
  const EncoderConfig c = read(config);
  const int64_t width = config.integer_or("embedding_size", c.hidden_size, 1, 1 << 20);
  if (width != c.hidden_size) {
    throw Error(ErrorKind::unsupported, fmt::format("[{}] embedding_size must be hidden_size, got {} and {}",
                                                    config.place(), width, c.hidden_size));
  }
  sanitize_encoder(weights, "electra.");
  const WeightPath root(weights), classifier = root / "classifier";
  EncoderStack::Parts parts = parts_of(c, root, 0);
  parts.classifier = class_head_at(classifier / "dense", classifier / "out_proj", c.hidden_size, Activation::gelu);
  drop_below(weights, {"classifier.", "discriminator_predictions.", "generator_", "qa_outputs."});
  return std::make_unique<EncoderStack>(c.shape(), std::move(parts));
}

std::unique_ptr<Encoder> make_camembert(const Config& config, Weights& weights) { return roberta(config, weights); }
std::unique_ptr<Encoder> make_roberta(const Config& config, Weights& weights) { return roberta(config, weights); }
std::unique_ptr<Encoder> make_xlm_roberta(const Config& config, Weights& weights) {
  // Jina's own code, which uses the same model_type, names its layers differently; the second name is that of a
  // conversion.
  const auto is_jinas = [](const auto& entry) {
    return entry.first.find("encoder.layers.0.") != std::string::npos || entry.first.starts_with("layers.0.");
  };
  const bool jinas = std::any_of(weights.tensors().begin(), weights.tensors().end(), is_jinas);
  return jinas ? make_jina_embeddings_v3(config, weights) : roberta(config, weights);
}

}  // namespace mlxk
