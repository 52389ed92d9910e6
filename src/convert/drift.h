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

/// The same for encoders: the cosine between both models' vectors for each of `texts`, with the pooling of the folder
/// `source`. Without a pooling (rerankers, classifiers, SPLADE, ColBERT) the vector is the mean of the hidden states.
/// On the worker thread.
VectorDrift measure_vector_drift(const std::filesystem::path& reference, const std::filesystem::path& result,
                                 const std::filesystem::path& source, const std::vector<std::vector<int32_t>>& texts,
                                 const ProgressSink& progress);

}  // namespace mlxk
