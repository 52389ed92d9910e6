#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "worker/backend.h"

namespace mlxk {

/// How far the logits of the model in `result` are from those of the model in `reference` after each of `tokens`; one
/// of them is in memory at a time. Throws what loading throws, invalid for too few tokens. On the worker thread.
Drift measure_drift(const std::filesystem::path& reference, const std::filesystem::path& result,
                    const std::vector<int32_t>& tokens, const ProgressSink& progress);

}  // namespace mlxk
