#pragma once

#include <map>
#include <string_view>
#include <vector>

#include "models/model.h"
#include "nn/cache/attention_cache.h"
#include "nn/linear.h"
#include "nn/positions.h"

namespace mlxk {

/// What every decoder's forward begins and ends with.

/// Checks the shapes of `inputs`, and the ids as far as they are computed, against the model and the cache; throws
/// invalid naming the field.
Positions positions_of(const Inputs& inputs, const ModelCache& cache, const ModelShape& shape);

/// The tokens' vectors [B, L, hidden] in `type`: the embeddings given, or looked up.
mx::array embed(const Inputs& inputs, const Embedding& table, mx::Dtype type);

/// The masks of one call: the caller's, or the causal ones, made once for each kind of cache.
class LayerMasks {
 public:
  LayerMasks(const Inputs& inputs, const Positions& positions) : given_(inputs.mask), positions_(positions) {}
  /// The mask for the layer of `cache`, to which this call's tokens are not appended yet.
  const AttentionMask& of(const AttentionCache& cache);

 private:
  std::optional<mx::array> given_;
  const Positions& positions_;
  std::map<std::string_view, AttentionMask> masks_;  // by Cache::kind
};

/// A rotating cache of `window` tokens where `sliding`, else a full one.
ModelCache make_attention_caches(const std::vector<bool>& sliding, int window, int rows);

/// With inputs.last_only each row's last token that counts, [B, 1, hidden]; else `hidden` as it is.
mx::array wanted_tokens(const mx::array& hidden, const Inputs& inputs, const Positions& positions);

/// A layer's cache of keys and values; throws internal when it is of another kind.
AttentionCache& attention_cache(ModelCache& cache, size_t layer);

}  // namespace mlxk
