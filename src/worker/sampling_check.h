#pragma once

#include <cstdint>

#include "worker/request.h"

namespace mlxk {

/// Throws invalid naming the first field out of range and its value; token ids are held to [0, vocab_size), or only to
/// [0, ∞) where vocab_size is 0 (not known yet). Any thread.
void check_sampling(const Sampling& sampling, int64_t vocab_size);

}  // namespace mlxk
