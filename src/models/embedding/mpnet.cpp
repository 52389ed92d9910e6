// MPNet (https://arxiv.org/abs/2004.09297): BERT with a distance bias on the scores, shared by all layers. Keys and
// tensors as in transformers' mpnet.
#include <cmath>

#include "mlx/ops.h"
#include "models/embedding/encoder_block.h"

namespace mlxk {
namespace {

constexpr int kMaxDistance = 128;  // beyond it all distances share a bucket
constexpr int kPadId = 1;          // positions are counted from the one after it

/// T5's bucket for a distance, key minus query: the first half for earlier keys, single distances and then ranges of
/// growing width.
int bucket_of(int distance, int buckets) {
  const int half = buckets / 2, exact = half / 2, far = std::abs(distance), first = distance > 0 ? half : 0;
  if (far < exact) return first + far;
  const double growth = std::log(static_cast<float>(far) / static_cast<float>(exact)) /
                        std::log(static_cast<double>(kMaxDistance) / exact);
  return first + std::min(exact + static_cast<int>(growth * (half - exact)), half - 1);
}

/// The bias of every distance in the form of PackedAttention, from the table [buckets, heads] at `path`.
mx::array distance_bias(const WeightPath& path, int buckets, int heads) {
  const Embedding table(path, buckets, heads);
  std::vector<int> ids;
  for (int distance = -kMaxDistance; distance <= kMaxDistance; ++distance) ids.push_back(bucket_of(distance, buckets));
  const mx::array rows = table(mx::array(ids.data(), {static_cast<int>(ids.size())}, mx::int32));
  return path.weights().keep(mx::contiguous(mx::transpose(mx::astype(rows, mx::float32))));
}

std::unique_ptr<EncoderLayer> layer(const EncoderConfig& c, const WeightPath& path, const mx::array& bias) {
  const int hidden = c.hidden_size;
  const WeightPath attn = path / "attention" / "attn";
  EncoderAttention attention{{std::nullopt,
                              {Linear(attn / "q", hidden, hidden, true), Linear(attn / "k", hidden, hidden, true),
                               Linear(attn / "v", hidden, hidden, true)}},
                             {Linear(attn / "o", hidden, hidden, true)},
                             c.head_dim};
  attention.distance_bias = bias;
  MlpResidual mlp{std::nullopt, Linear(path / "intermediate" / "dense", hidden, c.intermediate_size, true),
                  Linear(path / "output" / "dense", c.intermediate_size, hidden, true), read_activation(c.activation)};
  return std::make_unique<EncoderBlock>(std::move(attention), std::move(mlp),
                                        LayerNorm(path / "attention" / "LayerNorm", hidden, c.norm_eps),
                                        LayerNorm(path / "output" / "LayerNorm", hidden, c.norm_eps));
}

}  // namespace

std::unique_ptr<Encoder> make_mpnet(const Config& config, Weights& weights) {
  const EncoderConfig c = EncoderConfig::read(config);
  const int buckets = static_cast<int>(config.integer_or("relative_attention_num_buckets", 32, 4, 4096));
  if (buckets / 4 >= kMaxDistance) throw config.bad("relative_attention_num_buckets", "must be below 512");
  if (c.max_position_embeddings <= kPadId + 1) throw config.bad("max_position_embeddings", "must be above 2");
  sanitize_encoder(weights, "mpnet.");
  const WeightPath root(weights), embeddings = root / "embeddings", head = root / "lm_head";
  const mx::array bias = distance_bias(root / "encoder" / "relative_attention_bias", buckets, c.num_attention_heads);
  EncoderStack::Parts parts{Embedding(embeddings / "word_embeddings", c.vocab_size, c.hidden_size)};
  parts.positions = Embedding(embeddings / "position_embeddings", c.max_position_embeddings, c.hidden_size);
  parts.first_position = kPadId + 1;
  parts.embedding_norm = LayerNorm(embeddings / "LayerNorm", c.hidden_size, c.norm_eps);
  for (int i = 0; i < c.num_hidden_layers; ++i) parts.layers.push_back(layer(c, root / "encoder" / "layer" / i, bias));
  parts.classifier = class_head_at(root / "classifier" / "dense", root / "classifier" / "out_proj", c.hidden_size);
  parts.masked_lm = masked_lm_at(c, {head / "dense", head / "layer_norm", head / "decoder", head}, "gelu",
                                 config.flag_or("tie_word_embeddings", true));
  drop_below(weights, {"pooler.", "lm_head.", "classifier.", "qa_outputs."});
  EncoderShape shape = c.shape();
  shape.context_length = c.max_position_embeddings - parts.first_position;
  return std::make_unique<EncoderStack>(std::move(shape), std::move(parts));
}

}  // namespace mlxk
