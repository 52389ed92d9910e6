#include "models/text/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

#include "mlx/ops.h"
#include "models/step.h"
#include "nn/cache/kv_cache.h"
#include "nn/cache/rotating_cache.h"

namespace mlxk {
namespace {

constexpr float kNever = -1e9F;  // the logit of a token that is never generated
using Names = std::initializer_list<const char*>;

int integer(const Config& config, Names names, std::optional<int> fallback, int low, int high) {
  const char* key = config.present(names);
  if (!fallback) return static_cast<int>(config.integer(key, low, high));
  return static_cast<int>(config.integer_or(key, *fallback, low, high));
}

}  // namespace

DecoderConfig DecoderConfig::read(const Config& config, const DecoderDefaults& d) {
  DecoderConfig c;
  c.model_type = config.text_or("model_type", "");
  c.hidden_size = integer(config, {"hidden_size", "n_embd", "d_model", "model_dim"}, d.hidden_size, 1, kMaxWidth);
  c.num_hidden_layers =
      integer(config, {"num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_transformer_layers"},
              d.num_hidden_layers, 1, 1024);
  c.intermediate_size =
      integer(config, {"intermediate_size", "n_inner", "ffn_hidden_size", "mlp_hidden_size", "ffn_dim"},
              d.intermediate_size, 1, kMaxWidth);
  c.num_attention_heads =
      integer(config, {"num_attention_heads", "n_head", "n_heads", "num_heads"}, d.num_attention_heads, 1, 4096);
  c.num_key_value_heads = integer(config, {"num_key_value_heads", "n_kv_heads", "num_kv_heads"},
                                  d.num_key_value_heads.value_or(c.num_attention_heads), 1, 4096);
  c.vocab_size = integer(config, {"vocab_size", "embedding_size"}, d.vocab_size, 1, 1 << 24);
  if (c.num_attention_heads % c.num_key_value_heads != 0) {
    throw config.bad("num_attention_heads", fmt::format("must be a multiple of num_key_value_heads, got {} and {}",
                                                        c.num_attention_heads, c.num_key_value_heads));
  }
  if (!config.has("head_dim") && !d.head_dim && c.hidden_size % c.num_attention_heads != 0) {
    throw config.bad("hidden_size", fmt::format("must be a multiple of num_attention_heads, got {} and {}",
                                                c.hidden_size, c.num_attention_heads));
  }
  c.head_dim = integer(config, {"head_dim"}, d.head_dim.value_or(c.hidden_size / c.num_attention_heads), 2, 4096);
  c.max_position_embeddings = config.integer_or(
      config.present({"max_position_embeddings", "n_positions", "max_sequence_length", "max_context_length", "n_ctx"}),
      d.max_position_embeddings.value_or(0), 1, int64_t{1} << 31);
  c.norm_eps =
      static_cast<float>(config.number_or(config.present({"rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon",
                                                          "norm_epsilon", "norm_eps", "layernorm_epsilon"}),
                                          d.norm_eps, 0, 1));
  c.tie_word_embeddings = config.flag_or("tie_word_embeddings", d.tie_word_embeddings);
  c.activation = read_activation(
      config.text_or(config.present({"hidden_act", "hidden_activation", "activation_function"}), d.activation));
  const int pattern = static_cast<int>(config.integer_or("sliding_window_pattern", d.sliding_window_pattern, 1, 1024));
  c.layer_types = mlxk::layer_types(config, c.num_hidden_layers, d.sliding_window_pattern > 0 ? pattern : 0);
  const bool some_slide = std::count(c.layer_types.begin(), c.layer_types.end(), LayerType::sliding) > 0;
  const auto window = d.sliding_window > 0 ? std::optional(d.sliding_window) : std::nullopt;
  c.sliding_window = some_slide ? integer(config, {"sliding_window"}, window, 1, 1 << 30) : 0;
  return c;
}

Cache& LayerCaches::at(size_t i) const {
  if (i >= count_)
    throw Error(ErrorKind::internal, fmt::format("[cache] a layer with {} caches has no number {}", count_, i));
  return all_[first_ + i];
}

AttentionCache& LayerCaches::attention(size_t i) const {
  auto* cache = dynamic_cast<AttentionCache*>(&at(i));
  if (!cache) throw Error(ErrorKind::internal, fmt::format("[cache] cache {} must have keys and values", first_ + i));
  return *cache;
}

RecurrentCache& LayerCaches::recurrent(size_t i) const {
  auto* cache = dynamic_cast<RecurrentCache*>(&at(i));
  if (!cache) throw Error(ErrorKind::internal, fmt::format("[cache] cache {} must have a state", first_ + i));
  return *cache;
}

CrossCache& LayerCaches::cross(size_t i) const {
  auto* cache = dynamic_cast<CrossCache*>(&at(i));
  if (!cache) throw Error(ErrorKind::internal, fmt::format("[cache] cache {} must hold images", first_ + i));
  return *cache;
}

std::vector<std::unique_ptr<Cache>> attention_cache(int rows, int window) {
  std::vector<std::unique_ptr<Cache>> one;
  if (window > 0) {
    one.push_back(std::make_unique<RotatingKVCache>(rows, window));
  } else {
    one.push_back(std::make_unique<KVCache>(rows));
  }
  return one;
}

std::vector<std::unique_ptr<Cache>> recurrent_cache(int rows, int arrays) {
  std::vector<std::unique_ptr<Cache>> one;
  one.push_back(std::make_unique<RecurrentCache>(rows, arrays));
  return one;
}

Decoder::Decoder(ModelShape shape, Parts parts, mx::Dtype type)
    : Model(std::move(shape)), parts_(std::move(parts)), type_(type) {
  size_t count = 0;
  for (const auto& layer : parts_.layers) {
    const int shared = layer->shares_caches_of();
    if (shared >= 0) {
      caches_.push_back(caches_.at(static_cast<size_t>(shared)));
      continue;
    }
    caches_.push_back({count, layer->make_caches(1).size()});
    count += caches_.back().count;
  }
  shape_.num_caches = static_cast<int64_t>(count);
}

ModelCache Decoder::make_cache(int rows) const {
  std::vector<std::unique_ptr<Cache>> all;
  for (const auto& layer : parts_.layers) {
    if (layer->shares_caches_of() >= 0) continue;
    for (auto& cache : layer->make_caches(rows)) all.push_back(std::move(cache));
  }
  return ModelCache(std::move(all));
}

mx::array Decoder::embed(const mx::array& ids) const {
  mx::array h = parts_.embedding(ids);
  const float multiplier = parts_.embedding_multiplier;
  if (multiplier != 1) h = mx::multiply(h, mx::array(multiplier, h.dtype()));
  if (!media_encoder()) return h;
  for (const TokenTable& own : media_encoder()->tokens()) {
    const int count = own.vectors.shape(0);
    const mx::array at = mx::subtract(ids, mx::array(own.first)), zero = mx::array(0);
    const mx::array is_own = mx::logical_and(mx::greater_equal(at, zero), mx::less(at, mx::array(count)));
    const mx::array vectors = mx::take(own.vectors, mx::where(is_own, at, zero), 0);
    h = mx::where(mx::expand_dims(is_own, -1), mx::astype(vectors, h.dtype()), h);
  }
  return h;
}

mx::array Decoder::hidden(const Inputs& inputs, ModelCache& cache) {
  const Positions positions = positions_of(inputs, cache, shape_);
  LayerInputs in{positions, LayerMasks(inputs.mask, positions, inputs.ranges), std::nullopt, {}, inputs.cross_media};
  mx::array h = inputs.embeddings ? mx::astype(*inputs.embeddings, type_) : embed(*inputs.ids);
  if (parts_.learned_positions) {
    const mx::array at = mx::add(in.positions.order(), mx::array(parts_.learned_offset));
    h = mx::add(h, mx::astype(mx::take(*parts_.learned_positions, at, 0), type_));
  }
  if (parts_.embedding_norm) h = (*parts_.embedding_norm)(h);
  if (parts_.prepare) h = parts_.prepare(h, inputs, in);
  h = run(std::move(h), 0, parts_.layers.size(), inputs, cache, in);
  if (parts_.finish) h = parts_.finish(h, in);
  h = wanted_tokens(h, inputs, in.positions);
  return parts_.norm ? (*parts_.norm)(h) : h;
}

mx::array Decoder::run(mx::array h, size_t first, size_t last, const Inputs& inputs, ModelCache& cache,
                       const LayerInputs& in) const {
  for (size_t i = first; i < last; ++i) {
    h = (*parts_.layers[i])(h, LayerCaches(cache, caches_[i].first, caches_[i].count), in);
    if (i < inputs.layer_features.size()) h = mx::add(h, mx::astype(inputs.layer_features[i], h.dtype()));
  }
  return h;
}

mx::array Decoder::logits(const mx::array& hidden) const {
  mx::array logits = mx::astype(parts_.head ? (*parts_.head)(hidden) : parts_.embedding.as_linear(hidden), mx::float32);
  if (parts_.logit_multiplier != 1) logits = mx::multiply(logits, mx::array(parts_.logit_multiplier));
  if (parts_.logit_divisor != 1) logits = mx::divide(logits, mx::array(parts_.logit_divisor));
  if (parts_.final_soft_cap > 0) {
    const mx::array cap(parts_.final_soft_cap);
    logits = mx::multiply(cap, mx::tanh(mx::divide(logits, cap)));
  }
  if (parts_.tokens_without_logit > 0) {
    mx::Shape shape = logits.shape();
    shape.back() = parts_.tokens_without_logit;
    logits = mx::concatenate({logits, mx::full(shape, kNever)}, -1);
  }
  return logits;
}

ModelShape shape_of(const DecoderConfig& c) {
  return {c.model_type, c.vocab_size, c.hidden_size, c.num_hidden_layers, c.max_position_embeddings};
}

float bfloat16_next_to(double x) {
  return mx::astype(mx::array(static_cast<float>(x), mx::bfloat16), mx::float32).item<float>();
}

}  // namespace mlxk
