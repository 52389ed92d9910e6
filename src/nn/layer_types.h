#pragma once

#include <string>
#include <vector>

#include "nn/config.h"

namespace mlxk {

/// How a layer mixes tokens.
enum class LayerType { full, sliding, chunked, linear, mamba, conv, mlp };

/// Reads a word of `layer_types` ("full_attention", "sliding_attention", "chunked_attention", "linear_attention",
/// "mamba", "conv", …); throws bad_model naming `key` for another.
LayerType read_layer_type(const Config& config, const char* key, const Json& word);

/// The types of all layers: config.json's `layer_types`, or else, with a `pattern`, sliding ones of which every
/// pattern-th is full; without one all are full. Throws bad_model for a list of another length.
std::vector<LayerType> layer_types(const Config& config, int layers, int pattern);

}  // namespace mlxk
