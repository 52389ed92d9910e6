#pragma once

#include <memory>

#include "models/audio/speech_net.h"
#include "worker/backend.h"

namespace mlxk {

/// A speech model that answers with `net`: it listens to one window at a time, and all windows that decode take a token
/// in each step. Worker thread.
std::unique_ptr<SpeechModel> make_speech_model(std::unique_ptr<SpeechNet> net);

}  // namespace mlxk
