#include "speech/moonshine_transcribe.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include "base/error.h"
#include "json/json.h"
#include "json/member.h"
#include "media/mel.h"
#include "speech/clip_source.h"
#include "speech/compression.h"
#include "speech/run_window.h"
#include "speech/stripped.h"
#include "speech/voice_source.h"

namespace mlxk {
namespace {

constexpr size_t kMaxWindow = size_t{30} * kSpeechRate, kMinWindow = size_t{20} * kSpeechRate;
constexpr size_t kMinSamples = 895;  // that the encoder accepts
// English has up to 6.5 tokens a second, other languages up to 13; a model that writes more repeats itself.
constexpr double kTokensPerSecond = 13;

/// The text of one window, at rising temperatures until it is good enough. next() is called on the worker thread, the
/// rest after it.
struct MoonshinePlan {
  SpeechTask next(const SpeechAnswer& answer) {
    if (std::holds_alternative<SpeechEncoded>(answer)) return search();
    found = std::get<SpeechText>(answer);
    text = vocabulary->tokenizer->decode(found.tokens, true);
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
    search.prompt = {vocabulary->start};
    search.rules.end = vocabulary->end;
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

  std::shared_ptr<const MoonshineVocabulary> vocabulary;
  TranscribeOptions options;
  int max_tokens;
  size_t attempt = 0;  // an index into the temperatures
  SpeechText found;
  std::string text;
  double ratio = 0;
  SpeechDoubt doubt = SpeechDoubt::none;
};

class MoonshineTranscription {
 public:
  MoonshineTranscription(const MoonshineEngine& engine, SampleSource& source, const TranscribeOptions& options,
                         const TranscribeEvents& events)
      : engine_(engine), options_(options), events_(events), source_(source) {}

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
    if (samples.size() < kMinSamples || silent) return;
    const double seconds = static_cast<double>(samples.size()) / kSpeechRate;
    auto plan = std::make_shared<MoonshinePlan>(MoonshinePlan{
        engine_.vocabulary, options_, std::max(8, static_cast<int>(std::ceil(kTokensPerSecond * seconds)))});
    SpeechRequest request;
    request.features.assign(samples.begin(), samples.end());
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

  const MoonshineEngine& engine_;
  const TranscribeOptions& options_;
  const TranscribeEvents& events_;
  ClipSource source_;
  std::optional<VoiceSource> voice_;
  double begin_ = 0;  // of the clip, in seconds
  Transcript result_;
};

}  // namespace

std::shared_ptr<const MoonshineVocabulary> MoonshineVocabulary::load(const std::filesystem::path& model_dir,
                                                                     int64_t vocab_size) {
  const Json config = read_json(model_dir / "config.json");
  const auto token = [&](const char* key, int32_t fallback) {
    const Json& value = value_at(config, key);
    if (value.is_null()) return fallback;
    if (value.is_number_integer() && value >= 0 && value < vocab_size) return value.get<int32_t>();
    throw Error(ErrorKind::bad_model,
                fmt::format("[config.json] {} must be a token of the {}, got {}", key, vocab_size, value.dump()));
  };
  return std::make_shared<const MoonshineVocabulary>(
      MoonshineVocabulary{Tokenizer::load(model_dir), token("decoder_start_token_id", 1), token("eos_token_id", 2)});
}

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

Transcript transcribe_moonshine(const MoonshineEngine& engine, SampleSource& source, const TranscribeOptions& options,
                                const TranscribeEvents& events) {
  return MoonshineTranscription(engine, source, options, events).run();
}

}  // namespace mlxk
