#pragma once

#include <filesystem>

#include "worker/backend.h"

namespace mlxk {

/// Writes the model of the .gguf file `source` into the existing folder `folder`. Throws like convert_model.
ConvertReport convert_gguf(const std::filesystem::path& source, const ConvertOptions& options,
                           const std::filesystem::path& folder, const ProgressSink& progress);

}  // namespace mlxk
