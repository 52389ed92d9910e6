#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/model.h"
#include "nn/activation.h"
#include "nn/cache/cross_cache.h"
#include "nn/cache/recurrent_cache.h"
#include "nn/config.h"
#include "nn/layer_inputs.h"
#include "nn/layer_types.h"
#include "nn/linear.h"
#include "nn/norm.h"

namespace mlxk {

/// The defaults of a model_type for keys that config.json leaves out; a key without a default here is required.
struct DecoderDefaults {
  std::optional<int> hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim, vocab_size;
  std::optional<int> intermediate_size;  // 0: may be absent
  std::optional<int> max_position_embeddings = 0;
  double norm_eps = 1e-6;
  bool tie_word_embeddings = true;
  const char* activation = "silu";
  int sliding_window = 0;          // 0: required if a layer slides
  int sliding_window_pattern = 0;  // every n-th layer is full; 0: all are, unless layer_types says otherwise
};

/// The keys in the configurations of nearly all decoders, under any of their usual names (hidden_size, n_embd, d_model,
/// …). Fields keep transformers' words.
struct DecoderConfig {
  /// Throws bad_model naming the key.
  static DecoderConfig read(const Config& config, const DecoderDefaults& defaults = {});

  std::string model_type;
  int hidden_size, num_hidden_layers, intermediate_size, num_attention_heads, num_key_value_heads, head_dim, vocab_size;
  int64_t max_position_embeddings;  // 0: unknown
  float norm_eps;
  bool tie_word_embeddings;
  Activation activation;
  std::vector<LayerType> layer_types;
  int sliding_window;  // 0 if no layer slides

  bool slides(int layer) const { return layer_types[static_cast<size_t>(layer)] == LayerType::sliding; }
  /// The window of a layer's attention; 0: none.
  int window(int layer) const { return slides(layer) ? sliding_window : 0; }
};

/// The caches of one layer: its own, or those of the layer that it shares them with.
class LayerCaches {
 public:
  LayerCaches(ModelCache& all, size_t first, size_t count) : all_(all), first_(first), count_(count) {}
  size_t size() const { return count_; }
  /// Its i-th cache; throws internal if there is none or it is of another kind.
  AttentionCache& attention(size_t i = 0) const;
  RecurrentCache& recurrent(size_t i = 0) const;
  CrossCache& cross(size_t i = 0) const;

 private:
  Cache& at(size_t i) const;

  ModelCache& all_;
  size_t first_, count_;
};

/// A layer of a decoder.
class DecoderLayer {
 public:
  virtual ~DecoderLayer() = default;
  /// x [B, L, hidden] → the same, residuals added; this call's tokens are appended to the caches.
  virtual mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const = 0;
  /// Empty caches for `rows` rows: none, one or several.
  virtual std::vector<std::unique_ptr<Cache>> make_caches(int rows) const = 0;
  /// The earlier layer whose caches it reads instead of its own; -1: none.
  virtual int shares_caches_of() const { return -1; }
};

/// A KVCache, or with a window a RotatingKVCache, as the one cache of a layer.
std::vector<std::unique_ptr<Cache>> attention_cache(int rows, int window = 0);
/// A RecurrentCache of `arrays` arrays as the one cache of a layer.
std::vector<std::unique_ptr<Cache>> recurrent_cache(int rows, int arrays);

/// A text decoder: it embeds, runs its layers, norms, and multiplies with the head.
class Decoder : public Model {
 public:
  struct Parts {
    Embedding embedding;
    float embedding_multiplier = 1;
    std::optional<mx::array> learned_positions = {};  // [positions, hidden], added
    int learned_offset = 0;                           // the entry of position 0
    std::optional<Norm> embedding_norm = {};
    std::vector<std::unique_ptr<DecoderLayer>> layers = {};
    std::optional<Norm> norm = {};    // after the layers
    std::optional<Linear> head = {};  // absent: the embedding
    float logit_multiplier = 1;
    float logit_divisor = 1;
    int tokens_without_logit = 0;  // ids after those of the head, which are never generated
    float final_soft_cap = 0;      // logits become cap · tanh(logit / cap); 0: unchanged
    /// Called before the first layer: may set query_scale and extras, and returns the first layer's input.
    std::function<mx::array(const mx::array& h, const Inputs& inputs, LayerInputs& in)> prepare = {};
    /// Called after the last layer, before the norm.
    std::function<mx::array(const mx::array& h, const LayerInputs& in)> finish = {};
  };

  /// Counts the caches of `parts.layers`; `type` is the activations'.
  Decoder(ModelShape shape, Parts parts, mx::Dtype type);

  mx::array hidden(const Inputs& inputs, ModelCache& cache) override;
  mx::array logits(const mx::array& hidden) const override;
  mx::array embed(const mx::array& ids) const override;
  ModelCache make_cache(int rows) const override;

 protected:
  /// Runs h through layers [first, last).
  mx::array run(mx::array h, size_t first, size_t last, const Inputs& inputs, ModelCache& cache,
                const LayerInputs& in) const;

  Parts parts_;
  mx::Dtype type_;

 private:
  struct Place {
    size_t first, count;  // the index among the model's caches
  };
  std::vector<Place> caches_;  // one per layer
};

/// The shape of a model with that configuration.
ModelShape shape_of(const DecoderConfig& config);

/// The bfloat16 nearest to `x`, which some references multiply with.
float bfloat16_next_to(double x);

}  // namespace mlxk
