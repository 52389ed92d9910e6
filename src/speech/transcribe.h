#pragma once

#include <functional>
#include <memory>
#include <string>

#include "media/sample_source.h"
#include "speech/options.h"
#include "speech/transcript.h"

namespace mlxk {

class ModelHandle;
class SpeechVocabulary;
class Worker;

/// A speech model that is loaded, and its vocabulary.
struct SpeechEngine {
  Worker& worker;
  std::shared_ptr<const ModelHandle> model;
  std::shared_ptr<const SpeechVocabulary> vocabulary;
};

/// What a transcription tells while it goes on, on the thread that called it.
struct TranscribeEvents {
  std::function<void(const SpeechSegment&)> segment = {};           // as soon as it is final
  std::function<void(double seconds, double known)> progress = {};  // of the sound that is done, and that is known of
  std::function<bool()> cancelled = {};                             // asked between windows
  std::string cache_scope = {};                                     // whose requests they are
};

/// Transcribes what `source` gives, window by window, as openai's Whisper does; waits for the worker, so never on its
/// thread. Throws invalid for options that contradict each other, what the source throws, the engine's error,
/// cancelled.
Transcript transcribe(const SpeechEngine& engine, SampleSource& source, const TranscribeOptions& options,
                      const TranscribeEvents& events = {});

}  // namespace mlxk
