#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "worker/backend.h"

namespace mlxk {

/// The divergence of the logits of the model in `result` from those of the model in `reference` after each of `tokens`;
/// only one of them is in memory at a time. Throws like loading, and invalid for too few tokens. On the worker thread.
Drift measure_drift(const std::filesystem::path& reference, const std::filesystem::path& result,
                    const std::vector<int32_t>& tokens, const ProgressSink& progress);

}  // namespace mlxk
