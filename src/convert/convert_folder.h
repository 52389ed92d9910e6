#pragma once

#include <filesystem>

#include "convert/source_tensors.h"
#include "worker/backend.h"

namespace mlxk {

/// Writes the text model whose config.json lies in the folder `source` and whose weights are `tensors` into the
/// existing folder `folder`: cast, packed, unpacked or as it is, tensor by tensor and in pieces of rows; the other
/// files come along. Throws as convert_model does. On the worker thread.
ConvertReport convert_folder(const std::filesystem::path& source, const SourceTensors& tensors,
                             const ConvertOptions& options, const std::filesystem::path& folder,
                             const ProgressSink& progress);

}  // namespace mlxk
