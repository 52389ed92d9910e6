#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "media/mel.h"
#include "worker/media.h"

namespace mlxk {

/// A recording as input of a model.
struct ProcessedAudio {
  std::shared_ptr<const MediaData> data;
  std::string text;  // the replacement of the placeholder in the prompt: audio tokens and the text around them
  int tokens = 0;    // audio tokens in `text`
};

/// The options of a transcript.
struct TranscriptRequest {
  std::string language_code, language_name;  // "en", "english"; empty: the model detects it
  std::string context;                       // names and terms that may occur
};

/// A part of a transcript: seconds, and who speaks.
struct HeardSegment {
  double start = 0, end = 0;
  std::string speaker, text;
};

/// A model's answer to a request for a transcript.
struct HeardText {
  std::string text;
  std::string language;                     // name or code as the model wrote it; empty: it wrote none
  std::vector<HeardSegment> segments = {};  // of a model that gives times
};

/// The preprocessing of a family of models that accept audio. Immutable, any thread.
class AudioProcessor {
 public:
  virtual ~AudioProcessor() = default;
  /// The samples a second that process() takes.
  virtual int rate() const { return kSpeechRate; }
  /// Computes the features of `samples`; throws invalid for a recording that the family does not accept.
  virtual ProcessedAudio process(std::span<const float> samples) const = 0;
  /// The text that the chat template renders for a recording; also the token that its features replace.
  virtual std::string audio_token() const = 0;
  /// The longest recording in seconds that fits into `tokens` and that the family accepts.
  virtual double most_seconds(int64_t tokens) const = 0;
  /// Whether a request for a transcript may have a context.
  virtual bool takes_context() const { return false; }
  /// Whether it may name the language.
  virtual bool takes_language() const { return true; }
  /// Whether transcripts have segments with their times and speakers.
  virtual bool gives_times() const { return false; }
  /// The whole prompt that asks for the transcript of a recording whose text is `recording`; nullopt: the model is
  /// prompted by a chat.
  virtual std::optional<std::string> transcript_prompt(const std::string& /*recording*/,
                                                       const TranscriptRequest& /*request*/) const {
    return std::nullopt;
  }
  /// Reads the answer to such a prompt.
  virtual HeardText read_transcript(std::string answer) const { return {std::move(answer), ""}; }
  /// The text in the beginning of such an answer; empty while it may still be something else.
  virtual std::string read_beginning(std::string answer) const { return read_transcript(std::move(answer)).text; }
};

/// The processor of the model in `dir`: config.json, preprocessor_config.json or processor_config.json. Throws
/// unsupported for a model_type that is not built in, bad_model naming file and key.
std::unique_ptr<AudioProcessor> open_audio_processor(const std::filesystem::path& dir);

}  // namespace mlxk
