#pragma once

#include <cstdint>

namespace mlxk {

struct Sampling;

/// Throws invalid naming the first field out of range and its value; token ids must be in [0, vocab_size), or in [0, ∞)
/// if `vocab_size` is 0 (unknown). Any thread.
void check_sampling(const Sampling& sampling, int64_t vocab_size);

}  // namespace mlxk
