#pragma once

#include <memory>

#include "models/audio/frame_net.h"
#include "worker/backend.h"

namespace mlxk {

/// A speech model that decodes the frames of `net` one after the other: it encodes one window at a time, and all
/// decoding windows take one step together. Worker thread.
std::unique_ptr<SpeechModel> make_frame_model(std::unique_ptr<FrameNet> net);

}  // namespace mlxk
