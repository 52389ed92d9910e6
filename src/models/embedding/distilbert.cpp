// DistilBERT (https://arxiv.org/abs/1910.01108): BERT without token types. Keys and tensors as in transformers'
// distilbert.
#include "models/embedding/encoder_block.h"

namespace mlxk {
namespace {

std::unique_ptr<EncoderLayer> distilbert_layer(const EncoderConfig& c, const WeightPath& path) {
  const int hidden = c.hidden_size;
  const WeightPath attn = path / "attention", ffn = path / "ffn";
  EncoderAttention attention{
      {std::nullopt,
       {Linear(attn / "q_lin", hidden, hidden, true), Linear(attn / "k_lin", hidden, hidden, true),
        Linear(attn / "v_lin", hidden, hidden, true)}},
      {Linear(attn / "out_lin", hidden, hidden, true)},
      c.head_dim};
  MlpResidual mlp{std::nullopt, Linear(ffn / "lin1", hidden, c.intermediate_size, true),
                  Linear(ffn / "lin2", c.intermediate_size, hidden, true), read_activation(c.activation)};
  return std::make_unique<EncoderBlock>(std::move(attention), std::move(mlp),
                                        LayerNorm(path / "sa_layer_norm", hidden, c.norm_eps),
                                        LayerNorm(path / "output_layer_norm", hidden, c.norm_eps));
}

}  // namespace

std::unique_ptr<Encoder> make_distilbert(const Config& config, Weights& weights) {
  const EncoderConfig c = EncoderConfig::read(config);
  sanitize_encoder(weights, "distilbert.");
  const WeightPath root(weights), embeddings = root / "embeddings", projector = root / "vocab_projector";
  EncoderStack::Parts parts{Embedding(embeddings / "word_embeddings", c.vocab_size, c.hidden_size)};
  parts.positions = Embedding(embeddings / "position_embeddings", c.max_position_embeddings, c.hidden_size);
  parts.embedding_norm = LayerNorm(embeddings / "LayerNorm", c.hidden_size, c.norm_eps);
  for (int i = 0; i < c.num_hidden_layers; ++i)
    parts.layers.push_back(distilbert_layer(c, root / "transformer" / "layer" / i));
  parts.classifier = class_head_at(root / "pre_classifier", root / "classifier", c.hidden_size, Activation::relu);
  parts.masked_lm = masked_lm_at(c, {root / "vocab_transform", root / "vocab_layer_norm", projector, projector},
                                 c.activation, config.flag_or("tie_word_embeddings", true));
  drop_below(weights, {"pre_classifier.", "classifier.", "vocab_transform.", "vocab_layer_norm.", "vocab_projector.",
                       "qa_outputs."});
  return std::make_unique<EncoderStack>(c.shape(), std::move(parts));
}

}  // namespace mlxk
