#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "policy/policy.h"

namespace mlxk {

/// The bytes of the weights of `model` by its files; 0: unknown.
uint64_t weights_of(const ModelInfo& model);

/// The most bytes that `model` takes when it is loaded: its weights, and for an encoder of texts also those that the
/// CPU's kernels keep unpacked.
uint64_t room_of(const ModelInfo& model);

/// Whether `bytes` of weights fit in addition to `loaded` bytes: within 70 % of the memory, and into the free memory.
bool fits_beside(uint64_t bytes, uint64_t loaded, const Machine& machine);

/// Waits until enough released memory is free for `model`: its weights and a fifth, at most 8 GiB (speech: 4). False
/// after `patience`. Returns at once if enough is free, or if nothing is known.
bool wait_for_release(const ModelInfo& model, const std::function<Machine()>& machine,
                      std::chrono::milliseconds patience);

}  // namespace mlxk
