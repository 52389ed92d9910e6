#pragma once

#include <memory>
#include <string_view>

#include "models/audio/speech_net.h"
#include "models/media_encoder.h"
#include "models/model.h"
#include "nn/config.h"
#include "nn/weights.h"

namespace mlxk {

/// Builds a model from its config.json and takes its tensors out of `weights`; throws bad_model naming the key.
template <class Net>
using Maker = std::unique_ptr<Net> (*)(const Config& config, Weights& weights);

/// The maker of `model_type`, or nullptr. Each line of models.inc has one, defined in that architecture's file:
/// make_NAME for text and speech. A vision or audio model is the text model of its name with the encoder that
/// make_NAME_vision or make_NAME_audio returns, which takes its tensors first.
Maker<Model> find_maker(std::string_view model_type);
Maker<MediaEncoder> find_vision_maker(std::string_view model_type);
Maker<MediaEncoder> find_audio_maker(std::string_view model_type);
Maker<SpeechNet> find_speech_maker(std::string_view model_type);

}  // namespace mlxk
