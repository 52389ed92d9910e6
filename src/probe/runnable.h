#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "json/json.h"
#include "probe/files.h"
#include "probe/model_info.h"

namespace mlxk {

/// The model types of the built-in text decoders, sorted; known without the engine.
const std::vector<std::string>& built_in_text_models();

/// The same of the built-in speech models.
const std::vector<std::string>& built_in_speech_models();

/// Fills text, vision, audio, embedding and reason of a healthy model.
void judge_runnable(ModelInfo& info, const ModelFiles& files);

}  // namespace mlxk
