#pragma once

#include "worker/backend.h"

namespace mlxk {

/// Turns a .gguf file, a folder of safetensors, PyTorch weights (.bin, .pth) or .npz into an MLX workspace at
/// options.target. It is built in a hidden folder beside the target and renamed: a failure, or a drift above max_kl,
/// leaves nothing behind. The same input gives the same bytes (the sentinel's time apart). Throws usage, invalid,
/// not_found, bad_model, unsupported, denied or io. On the worker thread.
ConvertReport convert_model(const ConvertOptions& options, const ProgressSink& progress);

}  // namespace mlxk
