#pragma once

#include <filesystem>

#include "worker/backend.h"

namespace mlxk {

/// Quantises the text model in the folder `source` into the existing folder `folder`, tensor by tensor; a quantised
/// source is dequantised first. Throws as convert_model does.
ConvertReport convert_folder(const std::filesystem::path& source, const ConvertOptions& options,
                             const std::filesystem::path& folder, const ProgressSink& progress);

}  // namespace mlxk
