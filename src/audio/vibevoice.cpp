// VibeVoice-ASR: samples at 24 kHz, of the same loudness, padded to whole frames. Answers are lists of JSON objects.
//   shape [1, samples, 1]
// Source: transformers' VibeVoiceAcousticTokenizerFeatureExtractor and VibeVoiceAsrProcessor; the prompt begins the
// answer, as mlx-audio's does.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "audio/families.h"
#include "json/member.h"

namespace mlxk {

namespace {

constexpr int kRate = 24'000;
constexpr double kMostSeconds = 3600;
constexpr float kLeast = 1e-6F;

/// The objects of the list in `text` that are complete.
std::vector<std::string> objects_of(const std::string& text) {
  std::vector<std::string> objects;
  size_t begin = 0;
  int depth = 0;
  bool quoted = false, escaped = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (escaped || (quoted && c != '"')) {
      escaped = !escaped && c == '\\';
    } else if (c == '"') {
      quoted = depth > 0 && !quoted;
    } else if (c == '{' && depth++ == 0) {
      begin = i;
    } else if (c == '}' && depth > 0 && --depth == 0) {
      objects.push_back(text.substr(begin, i + 1 - begin));
    }
  }
  return objects;
}

const Json& value_of(const Json& object, const char* key, const char* longer) {
  return value_at(object, object.contains(key) ? key : longer);
}

/// A number, also in quotes; 0 for anything else.
double seconds_of(const Json& value) {
  double seconds = 0;
  if (value.is_number()) seconds = value.get<double>();
  if (value.is_string()) seconds = std::strtod(value.get_ref<const std::string&>().c_str(), nullptr);
  return std::isfinite(seconds) ? std::max(seconds, 0.0) : 0;
}

/// "A" for the first speaker, as OpenAI's API names them; a name as the model wrote it.
std::string speaker_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_number_unsigned() && !value.is_number_integer()) return "";
  const auto number = value.get<int64_t>();
  return number >= 0 && number < 26 ? std::string(1, static_cast<char>('A' + number)) : std::to_string(number);
}

class VibeVoiceProcessor : public AudioProcessor {
 public:
  explicit VibeVoiceProcessor(const ProcessorFiles& files) : VibeVoiceProcessor(extractor_of_vibevoice(files)) {}

  int rate() const override { return kRate; }
  ProcessedAudio process(std::span<const float> samples) const override {
    MediaData data;
    data.values.assign(samples.begin(), samples.end());
    if (normalises_) normalise(data.values);
    const int tokens = static_cast<int>((data.values.size() + hop_ - 1) / hop_);
    data.values.resize(size_t(tokens) * hop_);
    data.shape = {1, static_cast<int>(data.values.size()), 1};
    return processed_audio(
        std::move(data), audio_token(), tokens, "<|object_ref_start|>",
        fmt::format("<|object_ref_end|>\nThis is a {:.2f} seconds audio", static_cast<double>(samples.size()) / kRate));
  }
  std::string audio_token() const override { return "<|box_start|>"; }
  double most_seconds(int64_t tokens) const override {
    return std::min(kMostSeconds, static_cast<double>(tokens) * static_cast<double>(hop_) / kRate);
  }
  bool takes_context() const override { return true; }
  bool takes_language() const override { return false; }
  bool gives_times() const override { return true; }

  std::optional<std::string> transcript_prompt(const std::string& recording,
                                               const TranscriptRequest& request) const override {
    const std::string please =
        request.context.empty() ? ", please" : ", with extra info: " + request.context + "\n\nPlease";
    return "<|im_start|>system\nYou are a helpful assistant that transcribes audio input into text output in JSON "
           "format.<|im_end|>\n<|im_start|>user\n" +
           recording + please +
           " transcribe it with these keys: Start time, End time, Speaker ID, Content<|im_end|>\n"
           "<|im_start|>assistant\n";
  }
  /// [{"Start": 0, "End": 1.5, "Speaker": 0, "Content": "text"}, …]; the keys may also be those of the prompt.
  HeardText read_transcript(std::string answer) const override {
    HeardText heard;
    for (const std::string& object : objects_of(answer)) {
      const Json said = Json::parse(object, nullptr, false);
      if (!said.is_object() || !value_at(said, "Content").is_string()) continue;
      HeardSegment segment;
      segment.start = seconds_of(value_of(said, "Start", "Start time"));
      segment.end = std::max(segment.start, seconds_of(value_of(said, "End", "End time")));
      segment.speaker = speaker_of(value_of(said, "Speaker", "Speaker ID"));
      segment.text = said["Content"].get<std::string>();
      if (!heard.text.empty()) heard.text += " ";
      heard.text += segment.text;
      heard.segments.push_back(std::move(segment));
    }
    if (heard.segments.empty()) heard.text = std::move(answer);
    return heard;
  }

 private:
  static Settings extractor_of_vibevoice(const ProcessorFiles& files) {
    const Settings inner = files.processor.inner("feature_extractor");
    return inner.has("target_dB_FS") ? inner : files.image;
  }
  explicit VibeVoiceProcessor(const Settings& extractor)
      : hop_(static_cast<size_t>(extractor.whole("pad_to_multiple_of", 3200, 1, 1 << 20))),
        normalises_(extractor.flag("normalize_audio", true)),
        decibel_(extractor.real("target_dB_FS", -25)) {
    if (extractor.whole("sampling_rate", kRate) != kRate)
      extractor.fail("sampling_rate", fmt::format("must be {}", kRate));
  }

  /// Scales `samples` to the loudness, and down to the full scale if they exceed it.
  void normalise(std::vector<float>& samples) const {
    double power = 0;
    for (const float x : samples) power += double{x} * x;
    const double mean = samples.empty() ? 0 : power / static_cast<double>(samples.size());
    const auto factor = static_cast<float>(std::pow(10, decibel_ / 20) / (std::sqrt(mean) + kLeast));
    float most = 0;
    for (float& x : samples) most = std::max(most, std::abs(x *= factor));
    if (most <= 1) return;
    for (float& x : samples) x /= most + kLeast;
  }

  size_t hop_;  // samples of a token
  bool normalises_;
  double decibel_;
};

}  // namespace

std::unique_ptr<AudioProcessor> make_vibevoice(const ProcessorFiles& files) {
  return std::make_unique<VibeVoiceProcessor>(files);
}

}  // namespace mlxk
