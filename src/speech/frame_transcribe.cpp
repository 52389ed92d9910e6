#include "speech/frame_transcribe.h"

#include <algorithm>
#include <memory>

#include "media/mel.h"
#include "speech/clip_source.h"
#include "speech/frame_segments.h"
#include "speech/run_window.h"
#include "speech/voice_source.h"
#include "worker/speech.h"

namespace mlxk {
namespace {

constexpr int kWindowSeconds = 60;  // what is encoded at once
constexpr int kEdgeSeconds = 4;     // of it on either side are heard in another window too

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
      source_.begin(clip);
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
      ended = !read_beyond(sound, samples, static_cast<size_t>(window * hop_));
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

  /// The tokens of the encoder's frames [next, until), given the samples from frame `first` on.
  void decode(const std::vector<float>& samples, int64_t first, int64_t next, int64_t until) {
    SpeechRequest request;
    request.features = mel_(samples);
    if (request.features.empty()) return;
    auto found = std::make_shared<SpeechEmitted>();
    request.next = [found, state = state_, from = next - first, to = until - first](const SpeechAnswer& answer) {
      if (const auto* encoded = std::get_if<SpeechEncoded>(&answer)) {
        return SpeechTask(SpeechEmit{static_cast<int>(std::min<int64_t>(from, encoded->frames)),
                                     static_cast<int>(std::min<int64_t>(to, encoded->frames)), state});
      }
      *found = std::get<SpeechEmitted>(answer);
      return SpeechTask(SpeechFinish{});
    };
    run_window(engine_.worker, engine_.model, std::move(request), events_);
    for (const EmittedToken& token : found->tokens) add(token, first);
    state_ = std::move(found->state);
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
