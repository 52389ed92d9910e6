#pragma once

#include <memory>
#include <string_view>

#include "models/audio/speech_net.h"
#include "models/model.h"
#include "nn/config.h"
#include "nn/weights.h"

namespace mlxk {

/// What the makers of each kind of models.inc give.
namespace made {
using text = std::unique_ptr<Model>;
using vision = std::unique_ptr<Model>;
using speech = std::unique_ptr<SpeechNet>;
}  // namespace made

/// Builds a model from its config.json and takes its tensors out of `weights`; throws bad_model naming the key.
template <class Net>
using Maker = std::unique_ptr<Net> (*)(const Config& config, Weights& weights);

/// The maker of `model_type`, or nullptr.
Maker<Model> find_maker(std::string_view model_type);
Maker<SpeechNet> find_speech_maker(std::string_view model_type);

// One maker for each line of models.inc, defined in that architecture's file.
#define MLXK_MODEL(kind, name) made::kind make_##name(const Config& config, Weights& weights);
#include "models/models.inc"

}  // namespace mlxk
