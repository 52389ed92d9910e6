// ModernBERT (https://arxiv.org/abs/2412.13663): norms before each half, rotary positions, a gated MLP, and windows in
// most layers. Keys and tensors as in transformers' modernbert.
#include "models/embedding/encoder_block.h"
#include "nn/layer_types.h"

namespace mlxk {
namespace {

/// The rotation of layers of `type`, whose base older configurations have at `key`.
Rotation rotation(const Config& config, const EncoderConfig& c, const char* type, const char* key, double theta) {
  return rotation_of(config, RopeSettings::read(config, c.head_dim, config.number_or(key, theta, 1, 1e12), type));
}

std::unique_ptr<EncoderLayer> layer(const EncoderConfig& c, const WeightPath& path, bool norm_bias, int window,
                                    const Rotation& rotation) {
  const int hidden = c.hidden_size;
  std::optional<Norm> norm;  // the first layer's norm is that of the embeddings
  if (path.has("attn_norm.weight")) norm = LayerNorm(path / "attn_norm", hidden, c.norm_eps, norm_bias);
  EncoderAttention attention{
      {norm, linear_at(path / "attn" / "Wqkv", hidden, 3 * hidden).split({hidden, hidden, hidden})},
      {linear_at(path / "attn" / "Wo", hidden, hidden)},
      c.head_dim,
      window,
      rotation};
  const auto in =
      linear_at(path / "mlp" / "Wi", hidden, 2 * c.intermediate_size).split({c.intermediate_size, c.intermediate_size});
  GatedMlpResidual mlp{LayerNorm(path / "mlp_norm", hidden, c.norm_eps, norm_bias), in[0], in[1],
                       linear_at(path / "mlp" / "Wo", c.intermediate_size, hidden)};
  mlp.activation = read_activation(c.activation);
  return std::make_unique<EncoderBlock>(std::move(attention), std::move(mlp));
}

}  // namespace

std::unique_ptr<Encoder> make_modernbert(const Config& config, Weights& weights) {
  const EncoderConfig c = EncoderConfig::read(config, "gelu", 1e-5);
  const bool norm_bias = config.flag_or("norm_bias", false);
  const int window = static_cast<int>(config.integer_or("local_attention", 128, 1, 1 << 30)) / 2 + 1;
  const int every = static_cast<int>(config.integer_or("global_attn_every_n_layers", 3, 1, 1024));
  const auto types = config.has("layer_types") ? layer_types(config, c.num_hidden_layers, 0) : std::vector<LayerType>{};
  const Rotation global = rotation(config, c, "full_attention", "global_rope_theta", 160000);
  const Rotation local = rotation(config, c, "sliding_attention", "local_rope_theta", 10000);
  sanitize_encoder(weights, "model.");
  const WeightPath root(weights), head = root / "head";
  EncoderStack::Parts parts{Embedding(root / "embeddings" / "tok_embeddings", c.vocab_size, c.hidden_size)};
  parts.embedding_norm = LayerNorm(root / "embeddings" / "norm", c.hidden_size, c.norm_eps, norm_bias);
  for (int i = 0; i < c.num_hidden_layers; ++i) {
    const bool slides = types.empty() ? i % every != 0 : types[static_cast<size_t>(i)] == LayerType::sliding;
    parts.layers.push_back(layer(c, root / "layers" / i, norm_bias, slides ? window : 0, slides ? local : global));
  }
  parts.norm = LayerNorm(root / "final_norm", c.hidden_size, c.norm_eps, norm_bias);
  const std::string activation = config.text_or("classifier_activation", "gelu");
  if (const int labels = rows_at(root / "classifier"); labels > 0 && rows_at(head / "dense") > 0) {
    const std::string pooling = config.text_or("classifier_pooling", "cls");
    if (pooling != "cls" && pooling != "mean") {
      throw config.bad("classifier_pooling", "must be cls or mean, got " + pooling);
    }
    parts.classifier = class_head_at(head / "dense", root / "classifier", c.hidden_size, read_activation(activation));
    parts.classifier->norm = LayerNorm(head / "norm", c.hidden_size, c.norm_eps, norm_bias);
    parts.classifier->mean = pooling == "mean";
  } else if (root.has("decoder.bias") || root.has("decoder.weight")) {
    parts.masked_lm = masked_lm_at(c, {head / "dense", head / "norm", root / "decoder", root / "decoder"}, activation,
                                   config.flag_or("tie_word_embeddings", true), norm_bias);
  }
  drop_below(weights, {"head.", "decoder.", "classifier."});
  return std::make_unique<EncoderStack>(c.shape(), std::move(parts));
}

}  // namespace mlxk
