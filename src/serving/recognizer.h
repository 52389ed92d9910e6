#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "audio/processor.h"
#include "speech/formats.h"
#include "speech/frame_transcribe.h"
#include "speech/seq2seq_transcribe.h"
#include "speech/transcribe.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {

class ChatTemplate;
class ServedModel;

/// An option that a model does not support: its field in requests, its flag, and the reason.
struct RefusedOption {
  const char *field, *flag, *why;
};

/// Transcribes with one loaded model, a speech model or an audio language model. Immutable, any thread but the
/// worker's.
class Recognizer {
 public:
  virtual ~Recognizer() = default;
  /// The first option that the model does not support; nullopt: it supports all.
  virtual std::optional<RefusedOption> refused(const TranscribeOptions& /*options*/,
                                               TranscriptFormat /*format*/) const {
    return std::nullopt;
  }
  /// Whether it tells who speaks.
  virtual bool diarizes() const { return false; }
  /// Like transcribe() of speech/transcribe.h. Throws invalid for a recording that is too long for the model.
  virtual Transcript transcribe(SampleSource& source, const TranscribeOptions& options,
                                const TranscribeEvents& events) const = 0;
  /// The number of tokens of `text`, an option.
  virtual int64_t count_tokens(const std::string& text) const = 0;
};

/// refused() of `recognizer`, or the format if it needs speakers that the recognizer does not tell.
std::optional<RefusedOption> refused_option(const Recognizer& recognizer, const TranscribeOptions& options,
                                            TranscriptFormat format);

/// A loaded language model that accepts audio. All references must outlive the recognizer.
struct AudioModel {
  Worker& worker;
  std::shared_ptr<const ModelHandle> handle;
  std::shared_ptr<const Tokenizer> tokenizer;
  const ChatTemplate* chat_template;  // null: none
  const AudioProcessor& processor;
  int64_t context_length;  // 0: unknown
};

std::unique_ptr<Recognizer> speech_recognizer(SpeechEngine engine);
std::unique_ptr<Recognizer> frame_recognizer(FrameEngine engine);
std::unique_ptr<Recognizer> seq2seq_recognizer(Seq2SeqEngine engine);
/// The recognizer of a speech model in `model_dir`, loaded as `handle`. Throws bad_model for its vocabulary.
std::unique_ptr<Recognizer> speech_recognizer_in(Worker& worker, std::shared_ptr<const ModelHandle> handle,
                                                 const std::filesystem::path& model_dir);
std::unique_ptr<Recognizer> audio_model_recognizer(AudioModel model);
/// The recognizer of a served speech or audio model; throws internal for another kind.
std::unique_ptr<Recognizer> recognizer_of(Worker& worker, const ServedModel& model);

}  // namespace mlxk
