#pragma once

#include "worker/backend.h"

namespace mlxk {

/// Turns a .gguf file, or a folder of safetensors, into an MLX workspace at options.target. It is built in a temporary
/// folder beside the target and renamed: a failure leaves nothing behind. The same input gives the same bytes (the
/// sentinel's time apart). Throws usage, not_found, bad_model, unsupported or io. On the worker thread.
ConvertReport convert_model(const ConvertOptions& options, const ProgressSink& progress);

}  // namespace mlxk
