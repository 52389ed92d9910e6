#pragma once

#include "models/model.h"
#include "nn/cache/attention_cache.h"
#include "nn/layer_inputs.h"
#include "nn/positions.h"

namespace mlxk {

/// The beginning and end of every decoder's forward pass.

/// Checks the shapes of `inputs`, and those ids that are computed, against the model and the cache; throws invalid
/// naming the field.
Positions positions_of(const Inputs& inputs, const ModelCache& cache, const ModelShape& shape);

/// With inputs.last_only each row's last valid token, [B, 1, hidden]; else `hidden` unchanged.
mx::array wanted_tokens(const mx::array& hidden, const Inputs& inputs, const Positions& positions);

/// A layer's cache of keys and values; throws internal if it is of another kind.
AttentionCache& attention_cache(ModelCache& cache, size_t layer);

}  // namespace mlxk
