#include "speech/frame_transcribe.h"

#include <algorithm>
#include <chrono>
#include <future>

#include "base/error.h"
#include "media/mel.h"
#include "speech/frame_segments.h"
#include "speech/voice_source.h"
#include "worker/event.h"
#include "worker/speech.h"
#include "worker/worker.h"

namespace mlxk {
namespace {

constexpr int kWindowSeconds = 60;                 // what is encoded at once
constexpr int kEdgeSeconds = 4;                    // of it on either side are heard in another window too
constexpr int64_t kMostFrames = int64_t{1} << 50;  // of a recording

Error cancelled() { return Error(ErrorKind::cancelled, "the transcription was cancelled"); }

/// Counts what is read of a source, and gives the part of one clip.
class ClipSource : public SampleSource {
 public:
  explicit ClipSource(SampleSource& source) : source_(source) {}
  /// Goes on to the samples [begin, end), which must not go back.
  void begin(int64_t begin, int64_t end) {
    std::vector<float> skipped(kSpeechRate);
    while (at_ < begin) {
      const auto most = static_cast<size_t>(std::min<int64_t>(kSpeechRate, begin - at_));
      const size_t got = source_.read(std::span(skipped).first(most));
      if (got == 0) break;
      at_ += static_cast<int64_t>(got);
    }
    end_ = end;
  }
  size_t read(std::span<float> into) override {
    if (at_ >= end_) return 0;
    const size_t most = std::min(into.size(), static_cast<size_t>(end_ - at_));
    const size_t got = source_.read(into.first(most));
    at_ += static_cast<int64_t>(got);
    return got;
  }
  double seconds() const { return static_cast<double>(at_) / kSpeechRate; }

 private:
  SampleSource& source_;
  int64_t at_ = 0, end_ = 0;
};

class FrameTranscription {
 public:
  FrameTranscription(const FrameEngine& engine, SampleSource& source, const TranscribeOptions& options,
                     const TranscribeEvents& events)
      : engine_(engine),
        mel_(engine.vocabulary->mel()),
        options_(options),
        events_(events),
        hop_(int64_t{mel_.options().hop} * engine.vocabulary->stride()),
        source_(source) {}

  Transcript run() {
    for (const FrameClip& clip : frame_clips(options_)) {
      source_.begin(clip.begin * kMelHop, std::min(clip.end, kMostFrames) * kMelHop);
      begin_ = source_.seconds();
      if (options_.only_voice) voice_.emplace(source_);
      state_ = {};
      transcribe(voice_ ? static_cast<SampleSource&>(*voice_) : source_);
      if (auto last = segments_.finish()) take(std::move(*last));
    }
    result_.duration = source_.seconds();
    return std::move(result_);
  }

 private:
  /// One clip, window by window. Windows begin at a frame of the encoder.
  void transcribe(SampleSource& sound) {
    const int64_t window = int64_t{kWindowSeconds} * kSpeechRate / hop_,
                  edge = int64_t{kEdgeSeconds} * kSpeechRate / hop_;
    std::vector<float> samples;  // from frame `first` on
    int64_t first = 0, next = 0;
    for (bool ended = false; !ended;) {
      ended = !fill(sound, samples, static_cast<size_t>(window * hop_));
      const int64_t rest = static_cast<int64_t>(samples.size()) / hop_ + 1;
      const int64_t until = first + (ended ? rest : window - edge);
      decode(samples, first, next, until);
      if (events_.progress) events_.progress(source_.seconds(), source_.seconds());
      const int64_t drop = until - edge - first;
      if (ended) break;
      samples.erase(samples.begin(), samples.begin() + drop * hop_);
      first += drop;
      next = until;
    }
  }

  /// Reads until there are `count` samples and one more; returns false if the sound ends before.
  static bool fill(SampleSource& sound, std::vector<float>& samples, size_t count) {
    while (samples.size() <= count) {
      const size_t before = samples.size();
      samples.resize(before + kSpeechRate);
      const size_t got = sound.read(std::span(samples).subspan(before));
      samples.resize(before + got);
      if (got == 0) return false;
    }
    return true;
  }

  /// The tokens of the encoder's frames [next, until), given the samples from frame `first` on.
  void decode(const std::vector<float>& samples, int64_t first, int64_t next, int64_t until) {
    if (events_.cancelled && events_.cancelled()) throw cancelled();
    SpeechRequest request;
    request.features = mel_(samples);
    if (request.features.empty()) return;
    struct Answered {
      SpeechEmitted found;
      std::promise<Event> ended;
    };
    auto answered = std::make_shared<Answered>();
    request.next = [answered, state = state_, from = next - first,
                    to = until - first](const SpeechAnswer& answer) -> SpeechTask {
      if (const auto* encoded = std::get_if<SpeechEncoded>(&answer)) {
        return SpeechEmit{static_cast<int>(std::min<int64_t>(from, encoded->frames)),
                          static_cast<int>(std::min<int64_t>(to, encoded->frames)), state};
      }
      answered->found = std::get<SpeechEmitted>(answer);
      return SpeechFinish{};
    };
    request.cache_scope = events_.cache_scope;
    auto end = answered->ended.get_future();
    Ticket ticket = engine_.worker.submit(engine_.model, std::move(request), [answered](const Event& event) {
      if (std::holds_alternative<DoneEvent>(event) || std::holds_alternative<FailedEvent>(event)) {
        answered->ended.set_value(event);
      }
    });
    while (end.wait_for(std::chrono::milliseconds(50)) != std::future_status::ready) {
      if (events_.cancelled && events_.cancelled()) ticket.cancel();
    }
    const Event event = end.get();
    if (const auto* failed = std::get_if<FailedEvent>(&event)) throw Error(failed->kind, failed->message);
    if (std::get<DoneEvent>(event).reason == FinishReason::cancelled) throw cancelled();
    for (const EmittedToken& token : answered->found.tokens) add(token, first);
    state_ = std::move(answered->found.state);
  }

  void add(const EmittedToken& token, int64_t first) {
    const double start = time_of(first + token.frame, false);
    TimedToken timed{token.id, engine_.vocabulary->text_of(token.id), start,
                     std::max(start, time_of(first + token.frame + std::max(1, token.duration), true)),
                     token.probability};
    if (auto ended = segments_.add(timed)) take(std::move(*ended));
  }

  /// The recording's time of a frame of the clip.
  double time_of(int64_t frame, bool end) const {
    const double seconds = static_cast<double>(frame * hop_) / kSpeechRate;
    return begin_ + (voice_ ? voice_->time_of(seconds, end) : seconds);
  }

  void take(SpeechSegment segment) {
    segment.end = std::max(segment.start, std::min(segment.end, source_.seconds()));
    for (SpokenWord& word : segment.words) word.end = std::max(word.start, std::min(word.end, source_.seconds()));
    segment.seek = static_cast<int64_t>(segment.start * kFramesPerSecond);
    if (!options_.word_timestamps) segment.words.clear();
    result_.text += segment.text;
    if (events_.segment) events_.segment(segment);
    result_.segments.push_back(std::move(segment));
  }

  const FrameEngine& engine_;
  const NemoMel& mel_;
  const TranscribeOptions& options_;
  const TranscribeEvents& events_;
  const int64_t hop_;  // samples of an encoder's frame
  ClipSource source_;
  std::optional<VoiceSource> voice_;
  double begin_ = 0;  // of the clip, in seconds
  SpeechEmitState state_;
  FrameSegments segments_;
  Transcript result_;
};

}  // namespace

Transcript transcribe_frames(const FrameEngine& engine, SampleSource& source, const TranscribeOptions& options,
                             const TranscribeEvents& events) {
  return FrameTranscription(engine, source, options, events).run();
}

}  // namespace mlxk
