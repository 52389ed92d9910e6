#pragma once

#include <memory>

#include "models/text/block.h"

namespace mlxk {

/// make_block_decoder, but queries, keys and values are clipped to ±`limit` before rope; 0: they are not.
std::unique_ptr<Model> make_clipped_decoder(const BlockConfig& c, const WeightPath& root, float limit);

}  // namespace mlxk
