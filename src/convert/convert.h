#pragma once

#include "worker/backend.h"

namespace mlxk {

/// Converts a .gguf file, a folder of safetensors, PyTorch weights (.bin, .pth) or .npz to an MLX workspace at
/// options.target. It is built in a hidden folder beside the target and renamed: after a failure, or a drift above
/// max_kl, nothing is left. The same input gives the same bytes (except the sentinel's time). Throws usage, invalid,
/// not_found, bad_model, unsupported, denied or io. On the worker thread.
ConvertReport convert_model(const ConvertOptions& options, const ProgressSink& progress);

}  // namespace mlxk
