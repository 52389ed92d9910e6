#include "speech/transcribe.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "media/mel.h"
#include "speech/alignment.h"
#include "speech/languages.h"
#include "speech/mel_stream.h"
#include "speech/run_window.h"
#include "speech/stripped.h"
#include "speech/unheard.h"
#include "speech/window_plan.h"
#include "speech/word_times.h"
#include "worker/facts.h"

namespace mlxk {

namespace {

bool is_blank(const std::string& text) { return text.find_first_not_of(" \t\n\r\f\v") == std::string::npos; }

void check(const TranscribeOptions& options) {
  const auto refuse = [](const std::string& what) { throw Error(ErrorKind::invalid, what); };
  if (options.temperatures.empty()) refuse("there must be a temperature");
  for (const float t : options.temperatures) {
    if (!(t >= 0 && t <= 2)) refuse(fmt::format("temperature must be in [0, 2], got {}", t));
  }
  if (options.beam_size < 0 || options.beam_size > 64)
    refuse(fmt::format("beam_size must be in [0, 64], got {}", options.beam_size));
  if (options.best_of < 1 || options.best_of > 64)
    refuse(fmt::format("best_of must be in [1, 64], got {}", options.best_of));
  if (!(options.patience > 0 && options.patience <= 16))
    refuse(fmt::format("patience must be in (0, 16], got {}", options.patience));
  if (options.length_penalty && !(*options.length_penalty >= 0 && *options.length_penalty <= 1)) {
    refuse(fmt::format("length_penalty must be in [0, 1], got {}", *options.length_penalty));
  }
  if (options.only_voice && !options.clips.empty()) refuse("clip_timestamps cannot be combined with voice detection");
  if (options.max_tokens < 1) refuse(fmt::format("max_tokens must be at least 1, got {}", options.max_tokens));
}

/// A transcription at work.
class Transcription {
 public:
  Transcription(const SpeechEngine& engine, SampleSource& source, const TranscribeOptions& options,
                const TranscribeEvents& events)
      : engine_(engine),
        vocabulary_(*engine.vocabulary),
        options_(options),
        events_(events),
        facts_(*engine.model->facts().speech),
        mel_(source, facts_.mels, facts_.frames, options.only_voice) {
    if (!options.language.empty()) {
      language_ = find_language(options.language);
      if (!language_ || *language_ >= vocabulary_.languages()) {
        throw Error(ErrorKind::invalid, fmt::format("the model does not support language '{}'", options.language));
      }
    }
    if (!vocabulary_.multilingual()) {
      if (language_.value_or(0) != 0 || options.translate)
        throw Error(ErrorKind::invalid, "the model supports English only");
      language_ = 0;
    }
    if (!options.initial_prompt.empty())
      initial_ = vocabulary_.encode(" " + std::string(stripped(options.initial_prompt)));
    if (!options.hotwords.empty()) hotwords_ = vocabulary_.encode(" " + std::string(stripped(options.hotwords)));
    context_ = initial_;
  }

  Transcript run() {
    for (const FrameClip& clip : frame_clips(options_)) {
      seek_ = std::max(seek_, clip.begin);
      while (seek_ < clip.end) {
        const int64_t frames = std::min(mel_.available(seek_), clip.end - seek_);
        if (frames <= 0) break;
        if (events_.cancelled && events_.cancelled())
          throw Error(ErrorKind::cancelled, "the transcription was cancelled");
        // Digital silence makes a model hallucinate; nobody speaks there.
        if (options_.drop_unheard && mel_.is_silence(seek_, frames)) {
          seek_ += frames;
        } else {
          window(frames);
        }
        const double done = std::min(mel_.time_of(static_cast<double>(seek_)), mel_.seconds());
        if (events_.progress) events_.progress(done, mel_.seconds());
      }
    }
    result_.duration = mel_.seconds();
    if (language_ || guessed_language_) result_.language = language_code(language_ ? *language_ : *guessed_language_);
    result_.text = vocabulary_.decode(said_);
    return std::move(result_);
  }

 private:
  /// The context before a window.
  std::vector<int32_t> context() const {
    const size_t room = static_cast<size_t>(facts_.text_positions) / 2 - 1;
    std::vector<int32_t> all = hotwords_;
    if (options_.carry_initial_prompt) all.insert(all.end(), initial_.begin(), initial_.end());
    all.resize(std::min(all.size(), room));
    const size_t left = std::min(room - all.size(), context_.size() - std::min(context_.size(), forgotten_));
    all.insert(all.end(), context_.end() - static_cast<int64_t>(left), context_.end());
    return all;
  }

  WindowOutcome decode(int64_t frames) {
    heard_ = options_.drop_unheard ? mel_.frame_kinds(seek_, frames) : std::vector<FrameKind>();
    auto plan = std::make_shared<WindowPlan>(engine_.vocabulary, options_, language_, context(), facts_.text_positions,
                                             frames, heard_);
    SpeechRequest request;
    request.features = mel_.features(seek_, frames);
    request.next = [plan](const SpeechAnswer& answer) { return plan->next(answer); };
    run_window(engine_.worker, engine_.model, std::move(request), events_);
    return std::move(plan->outcome());
  }

  /// Transcribes the window at seek_ and advances seek_.
  void window(int64_t frames) {
    const WindowOutcome heard = decode(frames);
    if (!language_) {
      guessed_language_ = heard.language;
      result_.language_probability = heard.language_probability;
    }
    if (heard.silent) {
      seek_ += frames;
      return;
    }
    // The language is that of the first speaker, not of the noise before.
    language_ = heard.language;
    const int64_t begin = seek_;
    const double offset = static_cast<double>(begin) / kFramesPerSecond;
    std::vector<SpeechSegment> segments;
    for (const auto& cut : heard.cut.segments) {
      segments.push_back({0,
                          begin,
                          offset + cut.start,
                          offset + cut.end,
                          vocabulary_.decode(cut.tokens),
                          cut.tokens,
                          heard.temperature,
                          static_cast<float>(heard.found.mean_logprob()),
                          static_cast<float>(heard.compression_ratio),
                          heard.found.no_speech,
                          {},
                          heard.doubt});
    }
    seek_ = begin + (heard.cut.next > 0 ? heard.cut.next : frames);
    if (options_.word_timestamps && !time(segments, heard, begin, frames)) return;
    if (options_.drop_unheard) drop_unheard(segments, begin);
    finish(segments, heard.temperature, begin + frames);
  }

  /// Sets the words of the segments; returns false if nothing in the window counts.
  bool time(std::vector<SpeechSegment>& segments, const WindowOutcome& heard, int64_t begin, int64_t frames) {
    const double offset = static_cast<double>(begin) / kFramesPerSecond;
    std::vector<int32_t> text;
    for (const auto& segment : segments) {
      std::copy_if(segment.tokens.begin(), segment.tokens.end(), std::back_inserter(text),
                   [&](int32_t token) { return token < vocabulary_.end(); });
    }
    std::vector<TimedWord> words;
    if (heard.alignment) {
      const auto prompt = static_cast<int>(vocabulary_.start_sequence(*language_, options_.translate).size()) + 1;
      words = time_words(vocabulary_, *heard.alignment, prompt, text, *language_, frames);
    }
    add_words(segments, std::move(words), vocabulary_, options_, offset, last_speech_);
    const auto last_end = [&]() -> std::optional<double> {
      for (auto it = segments.rbegin(); it != segments.rend(); ++it) {
        if (!it->words.empty()) return it->words.back().end;
      }
      return segments.empty() ? std::nullopt : std::optional(segments.back().end);
    };
    const auto frame_of = [](double seconds) { return static_cast<int64_t>(std::llround(seconds * kFramesPerSecond)); };
    const double window_end = offset + static_cast<double>(facts_.frames) / kFramesPerSecond;
    const auto end = last_end();
    const bool moves = !heard.cut.single_ending && end && *end > offset;
    if (moves) seek_ = frame_of(*end);
    if (options_.hallucination_silence_threshold) {
      const double threshold = *options_.hallucination_silence_threshold;
      if (moves && window_end - *end <= threshold) seek_ = begin + frames;
      const auto verdict =
          judge_window(segments, {offset, window_end, static_cast<double>(frames) / kFramesPerSecond,
                                  static_cast<double>(mel_.frames()) / kFramesPerSecond, last_speech_, threshold});
      if (verdict.seek) seek_ = verdict.skip ? begin + frame_of(*verdict.seek - offset) : frame_of(*verdict.seek);
      if (verdict.skip) return false;
      segments.resize(verdict.keep);
    }
    if (const auto said = last_end()) last_speech_ = *said;
    // However long words are stretched, a window never starts again at the same place.
    if (seek_ <= begin) seek_ = begin + frames;
    return true;
  }

  /// Drops segments where nothing is heard.
  void drop_unheard(std::vector<SpeechSegment>& segments, int64_t begin) const {
    const auto unheard = unheard_segments(segments, heard_, begin, seek_);
    size_t kept = 0;
    for (size_t i = 0; i < segments.size(); ++i) {
      if (!unheard[i]) std::swap(segments[kept++], segments[i]);
    }
    segments.resize(kept);
  }

  /// Adds the length of the parts left out before it to its times; none exceeds the window's end, frame `last`.
  void place(SpeechSegment& segment, int64_t last) const {
    const auto recorded = [&](double& seconds, bool end) {
      seconds = mel_.time_of(std::min(seconds * kFramesPerSecond, static_cast<double>(end ? last : last - 1)), end);
    };
    recorded(segment.start, false);
    recorded(segment.end, true);
    for (auto& word : segment.words) {
      recorded(word.start, false);
      recorded(word.end, true);
    }
  }

  void finish(std::vector<SpeechSegment>& segments, float temperature, int64_t window_end) {
    for (auto& segment : segments) {
      if (segment.start == segment.end || is_blank(segment.text)) {
        segment.text.clear();
        segment.tokens.clear();
        segment.words.clear();
      }
      segment.id = static_cast<int64_t>(result_.segments.size());
      if (options_.only_voice) place(segment, window_end);
      context_.insert(context_.end(), segment.tokens.begin(), segment.tokens.end());
      said_.insert(said_.end(), segment.tokens.begin(), segment.tokens.end());
      if (events_.segment) events_.segment(segment);
      result_.segments.push_back(std::move(segment));
    }
    // A text decoded at a high temperature is not used as context.
    if (!options_.condition_on_previous_text || temperature > 0.5F) forgotten_ = context_.size();
    const size_t used = static_cast<size_t>(facts_.text_positions);
    if (context_.size() > 2 * used) {
      const size_t dropped = context_.size() - used;
      context_.erase(context_.begin(), context_.begin() + static_cast<int64_t>(dropped));
      forgotten_ -= std::min(forgotten_, dropped);
    }
  }

  const SpeechEngine& engine_;
  const SpeechVocabulary& vocabulary_;
  const TranscribeOptions& options_;
  const TranscribeEvents& events_;
  const SpeechFacts facts_;
  MelStream mel_;
  std::optional<int> language_, guessed_language_;  // the latter for sound without speech
  std::vector<FrameKind> heard_;                    // of the window
  std::vector<int32_t> initial_, hotwords_;
  std::vector<int32_t> context_;  // the last tokens, preceded by the initial prompt's
  size_t forgotten_ = 0;          // the tokens of context_ that no longer count
  std::vector<int32_t> said_;
  int64_t seek_ = 0;  // frame
  double last_speech_ = 0;
  Transcript result_;
};

}  // namespace

Transcript transcribe(const SpeechEngine& engine, SampleSource& source, const TranscribeOptions& options,
                      const TranscribeEvents& events) {
  check(options);
  if (!engine.model->facts().speech) throw Error(ErrorKind::invalid, "this model does not transcribe audio");
  return Transcription(engine, source, options, events).run();
}

}  // namespace mlxk
