#include "serving/recognizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/stop.h"
#include "chat/completion.h"
#include "chat/prepared_chat.h"
#include "json/json.h"
#include "media/mel.h"
#include "serving/generate.h"
#include "serving/max_new_tokens.h"
#include "serving/recordings.h"
#include "serving/served_model.h"
#include "speech/languages.h"
#include "speech/vocabulary.h"
#include "tokenizer/chat_template.h"
#include "worker/request.h"
#include "worker/worker.h"

namespace mlxk {

namespace {

constexpr const char* kAsk = "Transcribe what is spoken in this audio.";
// A transcript has fewer tokens than this; a model that writes more repeats itself.
constexpr double kTokensPerSecond = 20;
constexpr int64_t kMinTokens = 64;

/// Numbers and punctuation that a model cannot leave out.
std::optional<RefusedOption> refused_itn(const TranscribeOptions& options) {
  if (options.itn) return std::nullopt;
  return RefusedOption{"itn", "--no-itn", "the model writes numbers and punctuation as it was trained to"};
}

class SpeechRecognizer : public Recognizer {
 public:
  explicit SpeechRecognizer(SpeechEngine engine) : engine_(std::move(engine)) {}
  std::optional<RefusedOption> refused(const TranscribeOptions& options, TranscriptFormat /*format*/) const override {
    if (!options.to_language.empty() && find_language(options.to_language) != find_language("en")) {
      return RefusedOption{"to_language", "--to-language", "the model translates into English only"};
    }
    return refused_itn(options);
  }
  Transcript transcribe(SampleSource& source, const TranscribeOptions& options,
                        const TranscribeEvents& events) const override {
    return mlxk::transcribe(engine_, source, options, events);
  }
  int64_t count_tokens(const std::string& text) const override {
    return static_cast<int64_t>(engine_.vocabulary->encode(" " + text).size());
  }

 private:
  SpeechEngine engine_;
};

/// The options that tell a model what to expect, for a model that only hears.
std::optional<RefusedOption> refused_condition(const TranscribeOptions& options) {
  constexpr const char* kNoContext = "the model accepts no context for a transcript";
  if (!options.language.empty()) return RefusedOption{"language", "--language", "the model cannot be told a language"};
  if (options.translate) return RefusedOption{"task", "--translate", "the model does not translate"};
  if (!options.initial_prompt.empty()) return RefusedOption{"prompt", "--prompt", kNoContext};
  if (!options.hotwords.empty()) return RefusedOption{"hotwords", "--hotwords", kNoContext};
  if (options.carry_initial_prompt) return RefusedOption{"prompt", "--carry-initial-prompt", kNoContext};
  return std::nullopt;
}

/// The greedy text of a model that decodes frame by frame; SenseVoice can be told the language.
class FrameRecognizer : public Recognizer {
 public:
  explicit FrameRecognizer(FrameEngine engine) : engine_(std::move(engine)) {}

  std::optional<RefusedOption> refused(const TranscribeOptions& options, TranscriptFormat /*format*/) const override {
    constexpr const char* kGreedy = "the model takes the likeliest token of each frame";
    const bool told = engine_.vocabulary->tag_frames() > 0;
    TranscribeOptions rest = options;
    if (told && !options.language.empty()) {
      if (!engine_.vocabulary->can_be_told(options.language)) {
        return RefusedOption{"language", "--language", "the model knows zh, yue, en, ja and ko"};
      }
      rest.language.clear();
    }
    if (auto conditioned = refused_condition(rest)) return conditioned;
    if (!told && !options.itn) return refused_itn(options);
    if (!options.temperatures.empty() && options.temperatures.front() > 0) {
      return RefusedOption{"temperature", "--temperature", kGreedy};
    }
    if (options.beam_size > 0) return RefusedOption{"beam_size", "--beam-size", kGreedy};
    if (options.best_of > 1) return RefusedOption{"best_of", "--best-of", kGreedy};
    if (options.hallucination_silence_threshold) {
      return RefusedOption{"hallucination_silence_threshold", "--hallucination-silence-threshold", kGreedy};
    }
    return std::nullopt;
  }
  Transcript transcribe(SampleSource& source, const TranscribeOptions& options,
                        const TranscribeEvents& events) const override {
    return transcribe_frames(engine_, source, options, events);
  }
  int64_t count_tokens(const std::string& /*text*/) const override { return 0; }

 private:
  FrameEngine engine_;
};

/// The text of a model with an encoder and a decoder, whose segments have times: Moonshine, Canary.
class Seq2SeqRecognizer : public Recognizer {
 public:
  explicit Seq2SeqRecognizer(Seq2SeqEngine engine) : engine_(std::move(engine)) {}

  std::optional<RefusedOption> refused(const TranscribeOptions& options, TranscriptFormat /*format*/) const override {
    constexpr const char* kTimes = "the model gives no times of words";
    TranscribeOptions rest = options;
    const auto& languages = engine_.vocabulary->languages();
    if (!languages.empty()) {
      if (auto language = refused_language(options)) return language;
      rest.language.clear();
      rest.translate = false;
      rest.itn = true;
    }
    if (auto conditioned = refused_condition(rest)) return conditioned;
    if (auto itn = refused_itn(rest)) return itn;
    if (options.hallucination_silence_threshold) {  // which asks for times of words too
      return RefusedOption{"hallucination_silence_threshold", "--hallucination-silence-threshold", kTimes};
    }
    if (options.word_timestamps) return RefusedOption{"timestamp_granularities", "--word-timestamps", kTimes};
    return std::nullopt;
  }
  Transcript transcribe(SampleSource& source, const TranscribeOptions& options,
                        const TranscribeEvents& events) const override {
    return transcribe_seq2seq(engine_, source, options, events);
  }
  int64_t count_tokens(const std::string& /*text*/) const override { return 0; }

 private:
  /// A language that the model, which is told both, does not know.
  std::optional<RefusedOption> refused_language(const TranscribeOptions& options) const {
    const auto& languages = engine_.vocabulary->languages();
    const auto known = [&](const std::string& language) {
      const auto found = find_language(language);
      return found && std::find(languages.begin(), languages.end(), language_code(*found)) != languages.end();
    };
    constexpr const char* kUnknown = "the model does not know it; `mlxk show` tells its languages";
    if (!options.language.empty() && !known(options.language)) return RefusedOption{"language", "--language", kUnknown};
    if (!options.to_language.empty()) {
      return known(options.to_language) ? std::nullopt
                                        : std::optional(RefusedOption{"to_language", "--to-language", kUnknown});
    }
    return options.translate && !known("en") ? std::optional(RefusedOption{"task", "--translate", kUnknown})
                                             : std::nullopt;
  }

  Seq2SeqEngine engine_;
};

/// Prompts a language model for the transcript of the whole recording.
class AudioModelRecognizer : public Recognizer {
 public:
  explicit AudioModelRecognizer(AudioModel model) : model_(std::move(model)) {}

  std::optional<RefusedOption> refused(const TranscribeOptions& options, TranscriptFormat format) const override {
    constexpr const char* kTimes = "the model gives no times of words";
    constexpr const char* kDecoding = "the model writes its transcript as an answer";
    constexpr const char* kWhole = "the model transcribes the whole recording at once";
    if (auto itn = refused_itn(options)) return itn;
    const bool times = model_.processor.gives_times();
    if (!times && format != TranscriptFormat::text && format != TranscriptFormat::json) {
      return RefusedOption{"response_format", "--format", "the model gives no times; use text or json"};
    }
    if (options.word_timestamps) return RefusedOption{"timestamp_granularities", "--word-timestamps", kTimes};
    if (!options.language.empty() && !model_.processor.takes_language()) {
      return RefusedOption{"language", "--language", "the model cannot be told a language"};
    }
    if (options.translate) return RefusedOption{"task", "--translate", "the model does not translate"};
    if (!options.initial_prompt.empty() && !model_.processor.takes_context()) {
      return RefusedOption{"prompt", "--prompt", "the model accepts no context for a transcript"};
    }
    if (!options.hotwords.empty() && !model_.processor.takes_context()) {
      return RefusedOption{"hotwords", "--hotwords", "the model accepts no context for a transcript"};
    }
    if (options.beam_size > 0) return RefusedOption{"beam_size", "--beam-size", kDecoding};
    if (options.best_of > 1) return RefusedOption{"best_of", "--best-of", kDecoding};
    if (!options.clips.empty()) return RefusedOption{"clip_timestamps", "--clip-timestamps", kWhole};
    if (options.only_voice) return RefusedOption{"vad", "--vad", kWhole};
    if (options.carry_initial_prompt) return RefusedOption{"prompt", "--carry-initial-prompt", kDecoding};
    if (options.hallucination_silence_threshold) {
      return RefusedOption{"hallucination_silence_threshold", "--hallucination-silence-threshold", kTimes};
    }
    return std::nullopt;
  }

  Transcript transcribe(SampleSource& source, const TranscribeOptions& options,
                        const TranscribeEvents& events) const override {
    const auto stop_wanted = [&] { return events.cancelled && events.cancelled(); };
    const StopScope scope([&] {
      if (stop_wanted()) throw Error(ErrorKind::cancelled, "the transcription was cancelled");
    });
    const std::vector<float> samples = read_samples(source, "the recording", model_.processor.rate(),
                                                    most_seconds(model_.processor, model_.context_length));
    Transcript transcript;
    transcript.duration = static_cast<double>(samples.size()) / model_.processor.rate();
    if (events.progress) events.progress(0, transcript.duration);

    PromptAudio audio{model_.processor, {}};
    audio.recordings.push_back(model_.processor.process(samples));
    const Prompt prompt = encode_within(model_.context_length, [&](size_t most) { return ask(audio, options, most); });
    GenerateRequest request;
    request.prompt = prompt.ids;
    request.media = prompt.media;
    request.sampling.temperature = options.temperatures.empty() ? 0 : options.temperatures.front();
    request.sampling.seed = options.seed;
    request.eos_token_ids = model_.tokenizer->eos_token_ids();
    const auto most = kMinTokens + static_cast<int64_t>(std::ceil(kTokensPerSecond * transcript.duration));
    request.max_tokens = max_new_tokens_for(model_.context_length, static_cast<int64_t>(prompt.ids.size()), {}, most);
    request.cache_scope = events.cache_scope;
    std::string written, told;
    const auto tell = [&](const std::vector<Part>& parts) {
      bool ends = false;  // a segment
      for (const Part& part : parts) {
        written += part.text;
        ends = ends || part.text.find('}') != std::string::npos;
      }
      if (model_.processor.gives_times()) {
        if (ends) take_segments(model_.processor.read_transcript(written), options, events, transcript);
        return;
      }
      if (!events.text) return;
      const std::string text = model_.processor.read_beginning(written);
      // A loop that was cut off takes back what was told; then only the segment has the text.
      if (text.size() <= told.size() || !text.starts_with(told)) return;
      events.text(text.substr(told.size()));
      told = text;
    };
    const GeneratedAnswer answer = generate(model_.worker, model_.handle, std::move(request),
                                            Completion(model_.tokenizer, {}, {}), tell, stop_wanted);
    if (answer.reason == FinishReason::cancelled) {
      throw Error(ErrorKind::cancelled, "the transcription was cancelled");
    }

    const HeardText heard = model_.processor.read_transcript(answer.answer);
    transcript.text = heard.text;
    transcript.language = language_of(heard, options);
    HeardText parts = heard;
    if (parts.segments.empty() && !heard.text.empty()) parts.segments = {{0, transcript.duration, "", heard.text}};
    take_segments(parts, options, events, transcript);
    if (answer.reason == FinishReason::length && !transcript.segments.empty()) {
      transcript.segments.back().doubt = SpeechDoubt::repeats;
    }
    const Usage& usage = answer.usage;
    transcript.tokens = {usage.audio_tokens, usage.prompt_tokens - usage.audio_tokens, usage.completion_tokens};
    if (events.progress) events.progress(transcript.duration, transcript.duration);
    return transcript;
  }

  int64_t count_tokens(const std::string& text) const override {
    return static_cast<int64_t>(model_.tokenizer->encode(text, false).size());
  }

  bool diarizes() const override { return model_.processor.gives_times(); }

 private:
  /// Appends and tells the segments of `heard` that `transcript` has not.
  static void take_segments(const HeardText& heard, const TranscribeOptions& options, const TranscribeEvents& events,
                            Transcript& transcript) {
    for (size_t i = transcript.segments.size(); i < heard.segments.size(); ++i) {
      const HeardSegment& one = heard.segments[i];
      SpeechSegment segment;
      segment.id = static_cast<int64_t>(i);
      segment.start = std::min(one.start, transcript.duration);
      segment.end = std::min(one.end, transcript.duration);
      segment.text = one.text;
      segment.speaker = one.speaker;
      segment.temperature = options.temperatures.empty() ? 0 : options.temperatures.front();
      transcript.segments.push_back(std::move(segment));
      if (events.segment) events.segment(transcript.segments.back());
    }
  }

  /// The prompt in the model's own form, or as a chat.
  Prompt ask(const PromptAudio& audio, const TranscribeOptions& options, size_t most) const {
    TranscriptRequest request;
    if (const auto language = find_language(options.language)) {
      request.language_code = language_code(*language);
      request.language_name = language_name(*language);
    }
    request.context = options.initial_prompt;
    if (!options.hotwords.empty()) request.context += (request.context.empty() ? "" : "\n") + options.hotwords;
    if (auto own = transcript_prompt(audio, request, *model_.tokenizer, most)) return *std::move(own);
    std::string text = kAsk;
    if (!request.language_name.empty()) text += " The language is " + request.language_name + ".";
    const Json messages = {{{"role", "user"}, {"content", {{{"type", "audio"}}, {{"type", "text"}, {"text", text}}}}}};
    return chat_prompt(messages, model_.chat_template, {}, *model_.tokenizer, most, nullptr, &audio);
  }

  static std::string language_of(const HeardText& heard, const TranscribeOptions& options) {
    const auto language = find_language(heard.language.empty() ? options.language : heard.language);
    return language ? std::string(language_code(*language)) : "";
  }

  AudioModel model_;
};

std::unique_ptr<Recognizer> recognizer_with(Worker& worker, std::shared_ptr<const ModelHandle> handle,
                                            const AnySpeechVocabulary& vocabulary) {
  struct {
    std::unique_ptr<Recognizer> operator()(const std::shared_ptr<const SpeechVocabulary>& own) const {
      return speech_recognizer({worker, handle, own});
    }
    std::unique_ptr<Recognizer> operator()(const std::shared_ptr<const FrameVocabulary>& own) const {
      return frame_recognizer({worker, handle, own});
    }
    std::unique_ptr<Recognizer> operator()(const std::shared_ptr<const Seq2SeqVocabulary>& own) const {
      return seq2seq_recognizer({worker, handle, own});
    }
    Worker& worker;
    std::shared_ptr<const ModelHandle> handle;
  } const make{worker, std::move(handle)};
  return std::visit(make, vocabulary);
}

}  // namespace

std::optional<RefusedOption> refused_option(const Recognizer& recognizer, const TranscribeOptions& options,
                                            TranscriptFormat format) {
  if (format == TranscriptFormat::diarized_json && !recognizer.diarizes()) {
    return RefusedOption{"response_format", "--format", "the model does not tell speakers apart"};
  }
  return recognizer.refused(options, format);
}

std::unique_ptr<Recognizer> speech_recognizer(SpeechEngine engine) {
  return std::make_unique<SpeechRecognizer>(std::move(engine));
}

std::unique_ptr<Recognizer> frame_recognizer(FrameEngine engine) {
  return std::make_unique<FrameRecognizer>(std::move(engine));
}

std::unique_ptr<Recognizer> seq2seq_recognizer(Seq2SeqEngine engine) {
  return std::make_unique<Seq2SeqRecognizer>(std::move(engine));
}

std::unique_ptr<Recognizer> speech_recognizer_in(Worker& worker, std::shared_ptr<const ModelHandle> handle,
                                                 const std::filesystem::path& model_dir) {
  const auto vocabulary = load_speech_vocabulary(model_dir, handle->facts());
  return recognizer_with(worker, std::move(handle), vocabulary);
}

std::unique_ptr<Recognizer> audio_model_recognizer(AudioModel model) {
  return std::make_unique<AudioModelRecognizer>(std::move(model));
}

std::unique_ptr<Recognizer> recognizer_of(Worker& worker, const ServedModel& model) {
  if (const auto* speech = dynamic_cast<const ServedSpeech*>(&model)) {
    return recognizer_with(worker, speech->handle(), speech->vocabulary());
  }
  const auto* text = dynamic_cast<const ServedText*>(&model);
  if (!text || !text->audio_processor()) {
    throw Error(ErrorKind::internal, fmt::format("'{}' accepts no audio", model.info().ref.name));
  }
  return audio_model_recognizer({worker, text->handle(), text->tokenizer(), text->chat_template(),
                                 *text->audio_processor(), text->info().context_length});
}

}  // namespace mlxk
