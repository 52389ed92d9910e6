#include "speech/frame_transcribe.h"

#include <algorithm>
#include <cctype>
#include <memory>

#include "media/mel.h"
#include "speech/clip_source.h"
#include "speech/frame_segments.h"
#include "speech/languages.h"
#include "speech/run_window.h"
#include "speech/voice_source.h"
#include "worker/speech.h"

namespace mlxk {
namespace {

constexpr int kWindowSeconds = 60;  // what is encoded at once
constexpr int kTaggedSeconds = 30;  // of a model that names a window's language, which was trained on shorter ones
constexpr int kEdgeSeconds = 4;     // of it on either side are heard in another window too

/// The tokens of one window. take() is called on the worker thread, the rest after it.
struct FramePlan {
  SpeechTask take(const SpeechAnswer& answer) {
    if (const auto* encoded = std::get_if<SpeechEncoded>(&answer)) {
      frames = encoded->frames;
      if (tags > 0) return SpeechEmit{0, std::min(tags, frames), {}};
    } else if (tags > 0 && !has_tags) {
      named = std::get<SpeechEmitted>(answer);
      has_tags = true;
    } else {
      found = std::get<SpeechEmitted>(answer);
      return SpeechFinish{};
    }
    return SpeechEmit{static_cast<int>(std::min<int64_t>(from, frames)),
                      static_cast<int>(std::min<int64_t>(to, frames)), state};
  }

  int tags;          // frames for tags
  int64_t from, to;  // the frames whose tokens are wanted
  SpeechEmitState state;
  int frames = 0;
  bool has_tags = false;
  SpeechEmitted named = {}, found = {};  // the tokens of the tags, and of the text
};

class FrameTranscription {
 public:
  FrameTranscription(const FrameEngine& engine, SampleSource& source, const TranscribeOptions& options,
                     const TranscribeEvents& events)
      : engine_(engine),
        options_(options),
        events_(events),
        hop_(engine.vocabulary->hop()),
        tags_(engine.vocabulary->tag_frames()),
        conditions_(engine.vocabulary->conditions(options)),
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
    const int64_t window = int64_t{tags_ > 0 ? kTaggedSeconds : kWindowSeconds} * kSpeechRate / hop_,
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
    request.features = engine_.vocabulary->features()(samples);
    if (request.features.empty()) return;
    request.conditions = conditions_;
    auto plan = std::make_shared<FramePlan>(FramePlan{tags_, tags_ + next - first, tags_ + until - first, state_});
    request.next = [plan](const SpeechAnswer& answer) { return plan->take(answer); };
    run_window(engine_.worker, engine_.model, std::move(request), events_);
    if (tags_ > 0) take_tags(plan->named);
    for (const EmittedToken& token : plan->found.tokens) add(token, first);
    state_ = std::move(plan->found.state);
  }

  /// Reads the tokens of the frames for tags: the language, the emotion and the event, in this order.
  void take_tags(const SpeechEmitted& named) {
    emotion_ = event_ = "";
    for (const EmittedToken& token : named.tokens) {
      const std::string& tag = engine_.vocabulary->tag_of(token.id);
      if (token.frame == 0 && result_.language.empty() && find_language(tag)) result_.language = tag;
      if (token.frame == 1 && tag != "EMO_UNKNOWN") emotion_ = tag;
      if (token.frame == 2 && tag != "Event_UNK") event_ = tag;
    }
    const auto lower = [](unsigned char c) { return static_cast<char>(std::tolower(c)); };
    for (std::string* one : {&emotion_, &event_}) std::transform(one->begin(), one->end(), one->begin(), lower);
  }

  void add(const EmittedToken& token, int64_t first) {
    const int64_t frame = first + token.frame - tags_;
    const double start = time_of(frame, false);
    TimedToken timed{token.id, engine_.vocabulary->text_of(token.id), start,
                     std::max(start, time_of(frame + std::max(1, token.duration), true)), token.probability};
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
    segment.emotion = emotion_;
    segment.event = event_;
    if (!options_.word_timestamps) segment.words.clear();
    result_.text += segment.text;
    if (events_.segment) events_.segment(segment);
    result_.segments.push_back(std::move(segment));
  }

  const FrameEngine& engine_;
  const TranscribeOptions& options_;
  const TranscribeEvents& events_;
  const int64_t hop_;  // samples of an encoder's frame
  const int tags_;     // frames for tags before a window's first
  const std::vector<int32_t> conditions_;
  ClipSource source_;
  std::optional<VoiceSource> voice_;
  double begin_ = 0;  // of the clip, in seconds
  SpeechEmitState state_;
  std::string emotion_, event_;  // of the window
  FrameSegments segments_;
  Transcript result_;
};

}  // namespace

Transcript transcribe_frames(const FrameEngine& engine, SampleSource& source, const TranscribeOptions& options,
                             const TranscribeEvents& events) {
  return FrameTranscription(engine, source, options, events).run();
}

}  // namespace mlxk
