// Llama 4 (https://ai.meta.com/blog/llama-4-multimodal-intelligence/, transformers' llama4): layers with rope see the
// tokens of their own chunk, the others see all of them with queries scaled by position; an expert's input is scaled by
// its score, and there is a shared expert. As in transformers, only layers with rope norm queries and keys; mlx-lm's
// llama4_text does so in all.
#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"
#include "models/text/language_model.h"

namespace mlxk {
namespace {

constexpr BlockOptions kLlama4{.defaults = {.norm_eps = 1e-5, .tie_word_embeddings = false},
                               .names = {.mlp = "feed_forward"},
                               .qkv_bias_key = "attention_bias",
                               .out_bias_key = "attention_bias",
                               .qk_norm = QkNorm::after_rope,
                               .qk_norm_kind = NormKind::rms_plain,
                               .qk_norm_key = "use_qk_norm",
                               .theta = 5e5,
                               .traditional = true,
                               .no_rope_interval = 4,
                               .experts = {.score = RoutingRule::Score::sigmoid,
                                           .scales_input = true,
                                           .router = "feed_forward.router",
                                           .experts = "feed_forward.experts",
                                           .shared = "feed_forward.shared_expert"}};

/// Attention whose queries are scaled if the layer has no rope.
class Llama4Attention : public DecoderLayer {
 public:
  explicit Llama4Attention(SelfAttention attention) : attention_(std::move(attention)) {}

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    const auto scale = attention_.attention.rope ? std::nullopt : in.query_scale;
    return attention_.out(attention_.attention(attention_.qkv(x), caches.attention(), in, scale), x);
  }
  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override { return attention_cache(rows); }

 private:
  SelfAttention attention_;
};

/// 1 + attn_scale · ln(1 + ⌊(position + 1) / floor_scale⌋), [B, 1, L, 1].
mx::array temperatures(const Positions& at, float floor_scale, float attn_scale) {
  const mx::array order = mx::reshape(at.order(), {at.rows(), 1, at.length, 1});
  const mx::array position = mx::astype(mx::add(order, mx::array(1)), mx::float32);
  const mx::array stretches = mx::floor(mx::divide(position, mx::array(floor_scale)));
  return mx::add(mx::array(1.0F), mx::multiply(mx::array(attn_scale), mx::log1p(stretches)));
}

BlockConfig read_llama4(const Config& config) {
  Json json = config.json();
  if (json.contains("no_rope_layers") && json["no_rope_layers"] == Json::array()) json.erase("no_rope_layers");
  json.erase("layer_types");  // they follow from no_rope_layers
  BlockOptions options = kLlama4;
  const int64_t step = config.integer_or("interleave_moe_layer_step", 0, 0, 1 << 20);
  options.mixture = config.has("num_local_experts") && step > 0;
  if (options.mixture) json["decoder_sparse_step"] = step;
  BlockConfig c = read_block(Config(std::move(json), config.place()), options);
  c.intermediate_size = static_cast<int>(config.integer_or("intermediate_size_mlp", c.intermediate_size, 1, 1 << 20));
  if (!c.mixture) return c;
  if (c.mixture->rule.top_k != 1) throw config.bad("num_experts_per_tok", "must be 1");
  c.mixture->shared_wide = c.mixture->wide;
  return c;
}

std::unique_ptr<Model> make_llama4_decoder(const Config& config, Weights& weights) {
  BlockConfig c = read_llama4(config);
  const WeightPath path(weights);
  const WeightPath layers = path / c.options.names.layers;
  if (path.has("output.weight")) c.options.names.head = "output";  // mlx-lm's name for it in llama4_text
  sanitize_block(c, weights);
  Decoder::Parts parts = block_parts(c, path);
  const int chunk = static_cast<int>(config.integer_or("attention_chunk_size", 8192, 1, 1 << 30));
  ModelShape shape = shape_of(c);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    BlockConfig own = c;
    const auto& rope = c.ropes[static_cast<size_t>(layer)];
    if (!rope) own.options.qk_norm = QkNorm::none;
    SelfAttention attention = make_block_attention(own, layer, layers / layer);
    if (rope) attention.attention.mask.chunk = chunk;
    parts.layers.push_back(
        make_block(own, layer, layers / layer, std::make_unique<Llama4Attention>(std::move(attention))));
    if (rope) shape.position_stable_tokens = std::min(shape.position_stable_tokens, rope->position_stable_tokens());
  }
  const auto number_or = [&](const char* key, double fallback) {
    return static_cast<float>(config.number_or(key, fallback, 0, 1e9));
  };
  // A flag, which is a number in early configurations.
  const Json* tuning = config.find("attn_temperature_tuning");
  if (!tuning || (*tuning != false && *tuning != 0)) {
    parts.prepare = [floor_scale = number_or("floor_scale", 8192), attn_scale = number_or("attn_scale", 0.1)](
                        const mx::array& h, const Inputs&, LayerInputs& in) {
      in.query_scale = temperatures(in.positions, floor_scale, attn_scale);
      return h;
    };
  }
  return std::make_unique<Decoder>(std::move(shape), std::move(parts), weights.activation_type());
}

}  // namespace

std::unique_ptr<Model> make_llama4_text(const Config& config, Weights& weights) {
  return make_llama4_decoder(config, weights);
}

// The multimodal checkpoint's language model: image tensors are left out.
std::unique_ptr<Model> make_llama4(const Config& config, Weights& weights) {
  config.object("text_config");
  const Config kept = keep_language_model(config, weights);
  Json text = kept.json();
  text["model_type"] = "llama4";
  return make_llama4_decoder(Config(std::move(text), kept.place()), weights);
}

}  // namespace mlxk
