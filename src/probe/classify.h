#pragma once

#include "json/json_fwd.h"
#include "probe/files.h"
#include "probe/model_info.h"

namespace mlxk {

/// Sets the kind, capabilities, is_* flags, translates_to_english and audio_backend of `info`, whose ref and model_type
/// are set. `config` is config.json or null.
void classify(ModelInfo& info, const Json& config, const ModelFiles& files);

/// Returns MLX, GGUF, PyTorch or Unknown, by name, README front matter, configuration, weights and files.
std::string detect_framework(const std::string& name, const Json& config, const ModelFiles& files);

}  // namespace mlxk
