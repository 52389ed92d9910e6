#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mlx/array.h"
#include "models/held_weights.h"
#include "models/media_encoder.h"
#include "nn/cache/cache.h"
#include "nn/cache/mask.h"
#include "nn/layer_inputs.h"

namespace mlxk {

namespace mx = mlx::core;

/// The inputs of a call: tokens or their embeddings, for rows that each continue at the end of their cache.
struct Inputs {
  std::optional<mx::array> ids;         // [B, L] int32; the caller has checked lazy ones
  std::optional<mx::array> embeddings;  // [B, L, hidden] from Model::embed, in place of the ids' own; the ids
                                        // may be given beside them
  std::optional<mx::array> positions;   // [B, L] or [3, B, L] int32; absent: each row continues at its cache's position
  std::optional<mx::array> mask;        // additive or bool, [B, 1, L, T]; absent: causal
  std::vector<int> lengths;             // valid tokens of each row's L, from the first on; empty: all
  bool last_only = false;               // logits of each row's last token only
  std::vector<MaskRequest::Range> ranges = {};  // tokens that see each other in addition to causal attention (images)
  std::vector<mx::array> layer_features = {};   // [B, L, hidden], entry i is added to the output of layer i
  std::vector<CrossMedia> cross_media = {};     // images whose tokens are in the call, in order, for cross-attention
};

/// The properties of a model.
struct ModelShape {
  std::string model_type;
  int64_t vocab_size = 0;  // rows of the embedding
  int64_t hidden_size = 0;
  int64_t num_layers = 0;
  int64_t context_length = 0;  // 0: unknown
  uint64_t weight_bytes = 0;   // as held in memory
  // Up to this length a row's tokens give the same results one by one or several in a call; beyond it the rope rotates
  // all tokens of a call by the row's length.
  int64_t position_stable_tokens = std::numeric_limits<int64_t>::max();
  int64_t num_caches = -1;  // -1: one a layer
};

/// A loaded model; constant after loading, all state is in the cache. Every call on the worker thread.
class Model : public HeldWeights<ModelShape> {
 public:
  explicit Model(ModelShape shape) : HeldWeights(std::move(shape)) {}
  virtual ~Model() = default;

  /// Appends the inputs to `cache` and returns lazy hidden states after the last norm, [B, L or 1, hidden]; throws
  /// invalid for bad shapes.
  virtual mx::array hidden(const Inputs& inputs, ModelCache& cache) = 0;
  /// Lazy logits of hidden states [..., hidden] → [..., vocab] float32.
  virtual mx::array logits(const mx::array& hidden) const = 0;
  /// logits() of hidden().
  mx::array forward(const Inputs& inputs, ModelCache& cache) { return logits(hidden(inputs, cache)); }
  /// The tokens' vectors as the first layer's input: ids [B, L] → [B, L, hidden]. Throws internal unless overridden.
  virtual mx::array embed(const mx::array& ids) const;
  /// Empty caches for `rows` rows.
  virtual ModelCache make_cache(int rows) const = 0;

  const std::string& model_type() const { return shape_.model_type; }
  int64_t vocab_size() const { return shape_.vocab_size; }
  int64_t hidden_size() const { return shape_.hidden_size; }
  int64_t num_layers() const { return shape_.num_layers; }
  int64_t context_length() const { return shape_.context_length; }
  int64_t position_stable_tokens() const { return shape_.position_stable_tokens; }
  uint64_t weight_bytes() const { return shape_.weight_bytes; }
  /// The encoder of images and recordings; null: the model takes text only.
  const MediaEncoder* media_encoder() const { return media_encoder_.get(); }
  /// Called at most once, by the loader.
  void set_media_encoder(std::unique_ptr<const MediaEncoder> encoder) { media_encoder_ = std::move(encoder); }

 private:
  std::unique_ptr<const MediaEncoder> media_encoder_;
};

}  // namespace mlxk
