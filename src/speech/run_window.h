#pragma once

#include <memory>

#include "speech/transcribe.h"
#include "worker/speech.h"

namespace mlxk {

/// Does the tasks of one window on `worker` and waits for their end; asks events.cancelled while it waits. Never call
/// it on the worker's thread. Throws the engine's error, cancelled.
void run_window(Worker& worker, const std::shared_ptr<const ModelHandle>& model, SpeechRequest request,
                const TranscribeEvents& events);

}  // namespace mlxk
