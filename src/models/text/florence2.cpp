// The decoder of Florence-2 (https://arxiv.org/abs/2311.06242), BART's (https://arxiv.org/abs/1910.13461, transformers'
// bart): learned positions, norms after the residuals, and in each layer attention to the encoded prompt, which
// models/vision/florence2.cpp computes. Without it the decoder cannot run.
#include <algorithm>
#include <cmath>

#include "models/registry.h"
#include "models/text/bart_config.h"
#include "models/text/cross_attention.h"
#include "models/text/language_model.h"
#include "models/vision/parts.h"
#include "nn/mlp.h"

namespace mlxk {
namespace {

LayerNorm norm_at(const WeightPath& path, const DecoderConfig& c) { return LayerNorm(path, c.hidden_size, c.norm_eps); }

class BartDecoderLayer : public DecoderLayer {
 public:
  BartDecoderLayer(const DecoderConfig& c, const WeightPath& path)
      : attention_{{std::nullopt, square(c, path / "self_attn" / "q_proj"), square(c, path / "self_attn" / "k_proj"),
                    square(c, path / "self_attn" / "v_proj"), std::nullopt, std::nullopt, c.head_dim},
                   {std::nullopt, std::nullopt, std::nullopt, scale(c)},
                   {square(c, path / "self_attn" / "out_proj")}},
        attention_norm_(norm_at(path / "self_attn_layer_norm", c)),
        cross_{{std::nullopt, square(c, path / "encoder_attn" / "q_proj"), std::nullopt, std::nullopt, std::nullopt,
                std::nullopt, c.head_dim},
               square(c, path / "encoder_attn" / "k_proj"),
               square(c, path / "encoder_attn" / "v_proj"),
               std::nullopt,
               scale(c)},
        cross_out_{square(c, path / "encoder_attn" / "out_proj")},
        cross_norm_(norm_at(path / "encoder_attn_layer_norm", c)),
        mlp_{std::nullopt, Linear(path / "fc1", c.hidden_size, c.intermediate_size, true),
             Linear(path / "fc2", c.intermediate_size, c.hidden_size, true), c.activation},
        mlp_norm_(norm_at(path / "final_layer_norm", c)) {}

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    mx::array h = attention_norm_(attention_(x, caches.attention(), in));
    const std::vector<CrossCache::Seen> seen = cross_.update(caches.cross(1), in, x.dtype());
    if (!seen.empty()) h = where_seen(seen, cross_norm_(cross_out_(cross_(h, seen), h)), h);
    return mlp_norm_(mlp_(h));
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override {
    auto caches = attention_cache(rows);
    caches.push_back(std::make_unique<CrossCache>(rows));
    return caches;
  }

 private:
  static Linear square(const DecoderConfig& c, const WeightPath& path) {
    return Linear(path, c.hidden_size, c.hidden_size, true);
  }
  static AttentionScores scale(const DecoderConfig& c) { return {1 / std::sqrt(static_cast<float>(c.head_dim))}; }

  SelfAttention attention_;
  LayerNorm attention_norm_;
  CrossAttention cross_;
  OutResidual cross_out_;
  LayerNorm cross_norm_;
  MlpResidual mlp_;
  LayerNorm mlp_norm_;
};

bool starts_with_any(std::string_view name, std::initializer_list<std::string_view> prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](std::string_view p) { return name.starts_with(p); });
}

}  // namespace

std::unique_ptr<Model> make_florence2(const Config& config, Weights& weights) {
  const Config text = keep_language_model(config, weights);
  if (weights.has("model.encoder.embed_positions.weight")) {
    throw Error(ErrorKind::unsupported, "[florence2] its language model cannot be used alone: it needs an image");
  }
  DecoderConfig c = read_bart(text, "decoder");
  c.model_type = config.text_or("model_type", c.model_type);
  weights.drop([](const std::string& name) {  // copies of `shared`, and zeros
    return starts_with_any(name, {"model.encoder.embed_tokens.", "model.decoder.embed_tokens.",
                                  "model.final_logits_bias", "final_logits_bias"});
  });
  const WeightPath model = WeightPath(weights) / "model", decoder = model / "decoder";
  Decoder::Parts parts{Embedding(model / "shared", c.vocab_size, c.hidden_size)};
  if (text.flag_or("scale_embedding", false)) {
    parts.embedding_multiplier = std::sqrt(static_cast<float>(c.hidden_size));
  }
  const int positions = static_cast<int>(c.max_position_embeddings) + kBartFirstPosition;
  parts.learned_positions = take_table(decoder / "embed_positions", positions, c.hidden_size);
  parts.learned_offset = kBartFirstPosition;
  parts.embedding_norm = norm_at(decoder / "layernorm_embedding", c);
  if (weights.has("lm_head.weight")) parts.head.emplace(WeightPath(weights) / "lm_head", c.hidden_size, c.vocab_size);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    parts.layers.push_back(std::make_unique<BartDecoderLayer>(c, decoder / "layers" / layer));
  }
  return std::make_unique<Decoder>(shape_of(c), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
