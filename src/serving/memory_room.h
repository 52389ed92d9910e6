#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "policy/policy.h"

namespace mlxk {

/// The weights of `model`, as far as its files tell.
uint64_t weights_of(const ModelInfo& model);

/// Whether weights of `bytes` more fit beside `loaded` bytes: within 70 % of the memory, and into what is free now.
bool fits_beside(uint64_t bytes, uint64_t loaded, const Machine& machine);

/// Waits until memory that was given up is free again, as far as `model` needs it: its weights and a fifth, at most 8
/// GiB (speech: 4). False when it is not after `patience`. Returns at once where enough is free or nothing is known.
bool wait_for_release(const ModelInfo& model, const std::function<Machine()>& machine,
                      std::chrono::milliseconds patience);

}  // namespace mlxk
