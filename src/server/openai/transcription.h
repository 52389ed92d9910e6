#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "media/byte_source.h"
#include "server/answer/answer_delta.h"
#include "server/context.h"
#include "server/event_stream.h"
#include "serving/served_model.h"
#include "speech/formats.h"
#include "speech/options.h"
#include "speech/transcript.h"

namespace mlxk {

/// A recording that is to be transcribed for a request.
struct Recording {
  std::unique_ptr<ByteSource> bytes;
  std::string name;            // in messages
  std::string param = "file";  // the field at fault
  TranscribeOptions options;
  std::optional<int64_t> deadline_ms;
};

/// Takes a transcript while it is made; see TranscribeEvents.
struct TranscriptSink {
  std::function<void(const SpeechSegment&)> segment = {};
  std::function<void(const std::string&)> text = {};
};

/// Transcribes it on this thread, window by window; counts and logs it. Ends early (cancelled) if the client goes.
/// Throws ApiError: 400 for a broken recording, 415 for a codec that is not built in, 504 once the deadline has passed;
/// the engine's Error.
Transcript transcribe_recording(ServerContext& context, const ApiCall& call, const ServedModel& model,
                                Recording recording, const TranscriptSink& sink = {});

/// Throws ApiError 400 naming the field if `model` does not support an option.
void check_options(ServerContext& context, const ServedModel& model, const TranscribeOptions& options,
                   TranscriptFormat format);

/// Runs `work` on a transcription thread; an exception becomes the answer. With `streams` it gets the stream to write
/// to, which is kept alive while it waits; else null. Throws ApiError 429 if too many wait.
void transcribe_async(ServerContext& context, const ApiCall& call, bool streams,
                      std::function<void(EventStream* stream)> work);

/// The tokens that a transcript used: those of the prompt (for a speech model one for each 20 ms of audio, as in the
/// encoder) and those of the text.
AnswerUsage transcript_usage(ServerContext& context, const ServedModel& model, const TranscribeOptions& options,
                             const Transcript& transcript);
/// The audio tokens among them.
int64_t sound_tokens(const Transcript& transcript);

/// The texts of a stream, the first one without its leading space.
class TextSoFar {
 public:
  /// More of the next segment's text.
  std::string add(const std::string& text);
  /// What a segment adds to the text before it.
  std::string add(const SpeechSegment& segment);

 private:
  bool begun_ = false;
  std::string open_;  // of the next segment
};

}  // namespace mlxk
