#pragma once

#include <memory>
#include <string_view>

#include "models/audio/speech_net.h"
#include "models/model.h"
#include "nn/config.h"
#include "nn/weights.h"

namespace mlxk {

/// Builds a model from its config.json and takes its tensors out of `weights`; throws bad_model naming the key.
using ModelMaker = std::unique_ptr<Model> (*)(const Config& config, Weights& weights);

using SpeechMaker = std::unique_ptr<SpeechNet> (*)(const Config& config, Weights& weights);

/// The maker of `model_type`, or nullptr.
ModelMaker find_maker(std::string_view model_type);
SpeechMaker find_speech_maker(std::string_view model_type);

// One maker for each line of models.inc, defined in that architecture's file.
#define MLXK_TEXT_MODEL(name) std::unique_ptr<Model> make_##name(const Config& config, Weights& weights);
#define MLXK_SPEECH_MODEL(name) std::unique_ptr<SpeechNet> make_##name(const Config& config, Weights& weights);
#include "models/models.inc"

}  // namespace mlxk
