#pragma once

#include <memory>

#include "models/audio/speech_net.h"
#include "worker/backend.h"

namespace mlxk {

/// A speech model that transcribes with `net`: it encodes one window at a time, and all decoding windows take one token
/// in each step. Worker thread.
std::unique_ptr<SpeechModel> make_speech_model(std::unique_ptr<SpeechNet> net);

}  // namespace mlxk
