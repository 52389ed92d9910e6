#pragma once

#include <vector>

#include "nn/config.h"

namespace mlxk {

/// Which layers see a sliding window only: by config.json's `layer_types`, or else, with a `pattern` of n > 0, all but
/// every n-th; throws bad_model naming the key.
std::vector<bool> sliding_layers(const Config& config, int layers, int pattern);

}  // namespace mlxk
