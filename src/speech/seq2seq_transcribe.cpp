#include "speech/seq2seq_transcribe.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include "media/mel.h"
#include "speech/clip_source.h"
#include "speech/compression.h"
#include "speech/run_window.h"
#include "speech/stripped.h"
#include "speech/voice_source.h"

namespace mlxk {
namespace {

constexpr size_t kMaxWindow = size_t{30} * kSpeechRate, kMinWindow = size_t{20} * kSpeechRate;
// English has up to 6.5 tokens a second, other languages up to 13; a model that writes more repeats itself.
constexpr double kTokensPerSecond = 13;

/// The text of one window, at rising temperatures until it is good enough. next() is called on the worker thread, the
/// rest after it.
struct Seq2SeqPlan {
  SpeechTask next(const SpeechAnswer& answer) {
    if (std::holds_alternative<SpeechEncoded>(answer)) return search();
    found = std::get<SpeechText>(answer);
    text = vocabulary->decode(found.tokens);
    ratio = compression_ratio(stripped(text));
    const auto& most = options.compression_ratio_threshold;
    const auto& least = options.logprob_threshold;
    doubt = most && ratio > *most                    ? SpeechDoubt::repeats
            : least && found.mean_logprob() < *least ? SpeechDoubt::guess
                                                     : SpeechDoubt::none;
    if (doubt == SpeechDoubt::none || attempt + 1 >= options.temperatures.size()) return SpeechFinish{};
    ++attempt;
    return search();
  }

  SpeechTask search() const {
    SpeechSearch search;
    search.prompt = prompt;
    search.start_index = static_cast<int>(prompt.size()) - 1;
    search.rules.end = vocabulary->end();
    search.rules.with_timestamps = false;
    search.temperature = options.temperatures.at(attempt);
    search.candidates = search.temperature > 0 ? std::max(options.best_of, 1) : 1;
    search.beams = search.temperature > 0 ? 0 : options.beam_size;
    search.patience = options.patience;
    search.length_penalty = options.length_penalty;
    search.max_tokens = std::min(options.max_tokens, max_tokens);
    search.seed = options.seed;
    return search;
  }

  std::shared_ptr<const Seq2SeqVocabulary> vocabulary;
  TranscribeOptions options;
  std::vector<int32_t> prompt;
  int max_tokens;
  size_t attempt = 0;  // an index into the temperatures
  SpeechText found;
  std::string text;
  double ratio = 0;
  SpeechDoubt doubt = SpeechDoubt::none;
};

class Seq2SeqTranscription {
 public:
  Seq2SeqTranscription(const Seq2SeqEngine& engine, SampleSource& source, const TranscribeOptions& options,
                       const TranscribeEvents& events)
      : engine_(engine),
        options_(options),
        events_(events),
        prompt_(engine.vocabulary->prompt(options)),
        source_(source) {
    result_.language = engine.vocabulary->spoken(options);
  }

  Transcript run() {
    for (const FrameClip& clip : frame_clips(options_)) {
      source_.begin(clip);
      begin_ = source_.seconds();
      if (options_.only_voice) voice_.emplace(source_);
      transcribe(voice_ ? static_cast<SampleSource&>(*voice_) : source_);
    }
    result_.duration = source_.seconds();
    return std::move(result_);
  }

 private:
  /// One clip, window by window.
  void transcribe(SampleSource& sound) {
    std::vector<float> samples;  // from the clip's sample `first` on
    int64_t first = 0;
    for (bool ended = false; !ended;) {
      ended = !read_beyond(sound, samples, kMaxWindow);
      const size_t count = ended ? samples.size() : quietest_moment(std::span(samples).first(kMaxWindow), kMinWindow);
      decode(std::span(samples).first(count), first);
      if (events_.progress) events_.progress(source_.seconds(), source_.seconds());
      samples.erase(samples.begin(), samples.begin() + static_cast<int64_t>(count));
      first += static_cast<int64_t>(count);
    }
  }

  /// One window, from the clip's sample `first` on.
  void decode(std::span<const float> samples, int64_t first) {
    const bool silent = std::all_of(samples.begin(), samples.end(), [](float x) { return x == 0; });
    if (silent) return;
    SpeechRequest request;
    request.features = engine_.vocabulary->features(samples);
    if (request.features.empty()) return;
    const double seconds = static_cast<double>(samples.size()) / kSpeechRate;
    auto plan = std::make_shared<Seq2SeqPlan>(Seq2SeqPlan{
        engine_.vocabulary, options_, prompt_, std::max(8, static_cast<int>(std::ceil(kTokensPerSecond * seconds)))});
    request.next = [plan](const SpeechAnswer& answer) { return plan->next(answer); };
    run_window(engine_.worker, engine_.model, std::move(request), events_);
    if (stripped(plan->text).empty()) return;
    SpeechSegment segment;
    segment.id = static_cast<int64_t>(result_.segments.size());
    segment.start = time_of(first, false);
    segment.end = std::max(segment.start, time_of(first + static_cast<int64_t>(samples.size()), true));
    segment.seek = static_cast<int64_t>(segment.start * kFramesPerSecond);
    segment.text = " " + std::string(stripped(plan->text));
    segment.tokens = plan->found.tokens;
    segment.temperature = options_.temperatures.at(plan->attempt);
    segment.avg_logprob = static_cast<float>(plan->found.mean_logprob());
    segment.compression_ratio = static_cast<float>(plan->ratio);
    segment.doubt = plan->doubt;
    result_.text += segment.text;
    if (events_.segment) events_.segment(segment);
    result_.segments.push_back(std::move(segment));
  }

  /// The recording's time of a sample of the clip.
  double time_of(int64_t sample, bool end) const {
    const double seconds = static_cast<double>(sample) / kSpeechRate;
    return begin_ + (voice_ ? voice_->time_of(seconds, end) : seconds);
  }

  const Seq2SeqEngine& engine_;
  const TranscribeOptions& options_;
  const TranscribeEvents& events_;
  const std::vector<int32_t> prompt_;
  ClipSource source_;
  std::optional<VoiceSource> voice_;
  double begin_ = 0;  // of the clip, in seconds
  Transcript result_;
};

}  // namespace

size_t quietest_moment(std::span<const float> samples, size_t from) {
  constexpr size_t kWidth = kSpeechRate / 10;
  double sum = 0, least = 0;
  size_t best = samples.size();
  for (size_t i = from; i < samples.size(); ++i) {
    sum += double(samples[i]) * samples[i];
    if (i >= from + kWidth) sum -= double(samples[i - kWidth]) * samples[i - kWidth];
    if (i + 1 < from + kWidth || (best < samples.size() && sum >= least)) continue;
    least = sum;
    best = i + 1 - kWidth / 2;
  }
  return best;
}

Transcript transcribe_seq2seq(const Seq2SeqEngine& engine, SampleSource& source, const TranscribeOptions& options,
                              const TranscribeEvents& events) {
  return Seq2SeqTranscription(engine, source, options, events).run();
}

}  // namespace mlxk
