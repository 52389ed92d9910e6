#pragma once

#include "json/json.h"
#include "probe/files.h"
#include "probe/model_info.h"

namespace mlxk {

/// Fills what a model is for: kind, capabilities, the is_* flags, translates_to_english and audio_backend. `config` is
/// config.json or null; info.ref and info.model_type are set.
void classify(ModelInfo& info, const Json& config, const ModelFiles& files);

/// MLX, GGUF, PyTorch or Unknown, by name, README front matter, configuration, weights and files.
std::string detect_framework(const std::string& name, const Json& config, const ModelFiles& files);

}  // namespace mlxk
