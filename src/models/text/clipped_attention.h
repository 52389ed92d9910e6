#pragma once

#include <memory>

#include "models/text/block.h"

namespace mlxk {

/// Like make_block_decoder, with queries, keys and values clipped to ±`limit` before rope; 0: not clipped.
std::unique_ptr<Model> make_clipped_decoder(const BlockConfig& c, const WeightPath& root, float limit);

}  // namespace mlxk
