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

/// A loaded speech model and its vocabulary.
struct SpeechEngine {
  Worker& worker;
  std::shared_ptr<const ModelHandle> model;
  std::shared_ptr<const SpeechVocabulary> vocabulary;
};

/// The callbacks of a running transcription, on the caller's thread.
struct TranscribeEvents {
  std::function<void(const SpeechSegment&)> segment = {};  // as soon as it is final
  std::function<void(const std::string&)> text = {};       // more of the next segment's text, if models write it
  std::function<void(double seconds, double known)> progress = {};  // seconds done, and in all
  std::function<bool()> cancelled = {};                             // called between windows
  std::string cache_scope = {};                                     // the owner of the requests
};

/// Transcribes `source` window by window like OpenAI's Whisper; waits for the worker, so never call it on the worker's
/// thread. Throws invalid for options that contradict each other, the source's errors, the engine's error, cancelled.
Transcript transcribe(const SpeechEngine& engine, SampleSource& source, const TranscribeOptions& options,
                      const TranscribeEvents& events = {});

}  // namespace mlxk
