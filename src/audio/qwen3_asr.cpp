// Qwen3-ASR: all frames of the recording, at least half a second.
//   shape [1, frames, mels]
// Source: transformers' Qwen3ASRProcessor and Qwen3ASRFeatureExtractor.
#include <algorithm>
#include <cctype>

#include "audio/families.h"

namespace mlxk {

namespace {

constexpr size_t kMinSamples = 8000;
constexpr int kThreshold = 20;  // more repetitions than this are a loop
constexpr int kLongestPattern = 20;

int eighth(int frames) { return half_length(half_length(half_length(frames))); }

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r\n"), end = text.find_last_not_of(" \t\r\n");
  return begin == text.npos ? "" : text.substr(begin, end - begin + 1);
}

/// The first characters of `text`, as whole UTF-8 sequences.
std::vector<std::string> characters(const std::string& text) {
  std::vector<std::string> all;
  for (const char byte : text) {
    if (all.empty() || (static_cast<unsigned char>(byte) & 0xC0) != 0x80) all.emplace_back();
    all.back() += byte;
  }
  return all;
}

/// `text` with runs of more than kThreshold repetitions reduced to one: the model sometimes loops.
std::string without_loops(const std::string& text) {
  const std::vector<std::string> all = characters(text);
  const auto repeats = [&](size_t at, size_t length) {
    size_t count = 1;
    while (at + (count + 1) * length <= all.size() &&
           std::equal(all.begin() + static_cast<std::ptrdiff_t>(at),
                      all.begin() + static_cast<std::ptrdiff_t>(at + length),
                      all.begin() + static_cast<std::ptrdiff_t>(at + count * length))) {
      ++count;
    }
    return count;
  };
  std::string out;
  for (size_t at = 0; at < all.size();) {
    size_t length = 1, count = 1;
    for (; length <= kLongestPattern; ++length) {
      count = repeats(at, length);
      if (count > kThreshold) break;
    }
    if (length > kLongestPattern) length = count = 1;
    for (size_t i = 0; i < length; ++i) out += all[at + i];
    at += length * count;
  }
  return out;
}

class Qwen3AsrProcessor : public AudioProcessor {
 public:
  explicit Qwen3AsrProcessor(const ProcessorFiles& files)
      : Qwen3AsrProcessor(files,
                          (files.config.has("thinker_config") ? files.config.inner("thinker_config") : files.config)
                              .inner("audio_config")) {}

  ProcessedAudio process(std::span<const float> samples) const override {
    std::vector<float> padded;
    if (samples.size() < kMinSamples) {
      padded.assign(samples.begin(), samples.end());
      padded.resize(kMinSamples);
      samples = padded;
    }
    const int frames = static_cast<int>(samples.size() / kMelHop);
    MediaData data;
    data.values = log_mel_features(samples, frames, mel_);
    data.shape = {1, frames, mel_.mels()};
    const int tokens = frames / chunk_ * eighth(chunk_) + eighth(frames % chunk_);
    return processed_audio(std::move(data), audio_token(), tokens);
  }
  std::string audio_token() const override { return "<|audio_pad|>"; }
  double most_seconds(int64_t tokens) const override {
    return static_cast<double>(tokens / eighth(chunk_) * chunk_) / kFramesPerSecond;
  }
  bool takes_context() const override { return true; }
  std::optional<std::string> transcript_prompt(const std::string& recording,
                                               const TranscriptRequest& request) const override {
    std::string language = request.language_name;
    if (!language.empty()) {
      language[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(language[0])));
      language = "language " + language + "<asr_text>";
    }
    return "<|im_start|>system\n" + request.context + "<|im_end|>\n<|im_start|>user\n<|audio_start|>" + recording +
           "<|audio_end|><|im_end|>\n<|im_start|>assistant\n" + language;
  }
  /// "language English<asr_text>text", or the text alone.
  HeardText read_transcript(std::string answer) const override {
    answer = without_loops(trimmed(answer));
    const size_t at = answer.find(kMarker);
    if (at == answer.npos) return {trimmed(answer), ""};
    std::string language = trimmed(answer.substr(0, at));
    if (language.starts_with(kLanguage)) language.erase(0, kLanguage.size());
    if (language == "None") language.clear();
    return {trimmed(answer.substr(at + kMarker.size())), language};
  }
  std::string read_beginning(std::string answer) const override {
    const std::string begun = trimmed(answer);
    const bool named = begun.starts_with(kLanguage) || kLanguage.starts_with(begun);
    if (named && begun.find(kMarker) == begun.npos) return {};
    return read_transcript(std::move(answer)).text;
  }

 private:
  static constexpr std::string_view kMarker = "<asr_text>", kLanguage = "language ";

  Qwen3AsrProcessor(const ProcessorFiles& files, const Settings& audio)
      : mel_(log_mel_of(files, audio)), chunk_(2 * audio.whole("n_window", 50, 1, 1 << 12)) {}

  LogMel mel_;
  int chunk_;  // frames
};

}  // namespace

std::unique_ptr<AudioProcessor> make_qwen3_asr(const ProcessorFiles& files) {
  return std::make_unique<Qwen3AsrProcessor>(files);
}

}  // namespace mlxk
