#pragma once

#include <string>
#include <vector>

#include "nn/config.h"

namespace mlxk {

/// How a layer mixes tokens.
enum class LayerType { full, sliding, chunked, linear, mamba, conv, mlp };

/// Parses a value of `layer_types` ("full_attention", "sliding_attention", "chunked_attention", "linear_attention",
/// "mamba", "conv", …); throws bad_model naming `key` for an unknown one.
LayerType read_layer_type(const Config& config, const char* key, const Json& word);

/// The types of all layers: config.json's `layer_types`; else, with a `pattern`, sliding layers of which every
/// pattern-th is full; else all are full. Throws bad_model for a list of the wrong length.
std::vector<LayerType> layer_types(const Config& config, int layers, int pattern);

}  // namespace mlxk
