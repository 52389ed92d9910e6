#pragma once

#include <memory>
#include <optional>

#include "media/sample_source.h"
#include "speech/frame_vocabulary.h"
#include "speech/options.h"
#include "speech/transcribe.h"
#include "speech/transcript.h"

namespace mlxk {

/// A loaded speech model that decodes frame by frame, and its vocabulary.
struct FrameEngine {
  Worker& worker;
  std::shared_ptr<const ModelHandle> model;
  std::shared_ptr<const FrameVocabulary> vocabulary;
};

/// Transcribes `source` in windows of a minute (SenseVoice: 30 seconds) whose edges are heard twice, in bounded memory;
/// the text continues from window to window. Of `options` only clips, only_voice and word_timestamps count, for
/// SenseVoice also language and itn. Waits for the worker, so never call
/// it on the worker's thread. Throws the source's errors, the engine's error, cancelled.
Transcript transcribe_frames(const FrameEngine& engine, SampleSource& source, const TranscribeOptions& options,
                             const TranscribeEvents& events = {});

}  // namespace mlxk
