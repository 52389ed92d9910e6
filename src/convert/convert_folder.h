#pragma once

#include <filesystem>

#include "base/model_kind.h"
#include "convert/source_tensors.h"
#include "worker/backend.h"

namespace mlxk {

/// The kind of the model in `folder`: embedding for embedding models, rerankers and classifiers, text for others.
ModelKind kind_of(const std::filesystem::path& folder);

/// Writes the text model or encoder with config.json in the folder `source` and weights `tensors` into the existing
/// folder `folder`: cast, packed, unpacked or unchanged, tensor by tensor and in pieces of rows; the other files are
/// copied. Throws like convert_model. On the worker thread.
ConvertReport convert_folder(const std::filesystem::path& source, const SourceTensors& tensors,
                             const ConvertOptions& options, const std::filesystem::path& folder,
                             const ProgressSink& progress);

}  // namespace mlxk
