#pragma once

#include <filesystem>

#include "convert/source_tensors.h"
#include "worker/backend.h"

namespace mlxk {

/// Writes the text model with config.json in the folder `source` and weights `tensors` into the existing folder
/// `folder`: cast, packed, unpacked or unchanged, tensor by tensor and in pieces of rows; the other files are copied.
/// Throws like convert_model. On the worker thread.
ConvertReport convert_folder(const std::filesystem::path& source, const SourceTensors& tensors,
                             const ConvertOptions& options, const std::filesystem::path& folder,
                             const ProgressSink& progress);

}  // namespace mlxk
