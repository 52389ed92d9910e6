// Gemma 3n: frames of 32 ms, 10 ms apart, of samples padded to multiples of 128. A recording has always the same number
// of tokens.
//   shape [1, frames, mels]
// Source: transformers' Gemma3nAudioFeatureExtractor and Gemma3nProcessor.
#include <fmt/format.h>

#include <algorithm>

#include "audio/families.h"
#include "audio/usm_mel.h"
#include "base/error.h"

namespace mlxk {

namespace {

constexpr int64_t kMultiple = 128, kMost = int64_t{30} * kSpeechRate;  // samples

UsmMelOptions options_of(const Settings& extractor) {
  for (const auto& [key, wanted] : {std::pair("sampling_rate", kSpeechRate), std::pair("hop_length", kMelHop),
                                    std::pair("frame_length", 512), std::pair("fft_length", 1024)}) {
    if (extractor.whole(key, wanted) != wanted) extractor.fail(key, fmt::format("must be {}", wanted));
  }
  UsmMelOptions options{.mels = extractor.whole("feature_size", 128, 1, 1024),
                        .frame = 512,
                        .size = 1024,
                        .low = extractor.real("min_frequency", 125),
                        .high = extractor.real("max_frequency", 7600),
                        .preemphasis = extractor.real("preemphasis", 0.97),
                        .floor = extractor.real("mel_floor", 1e-5)};
  if (options.low < 0 || options.low >= options.high) extractor.fail("min_frequency", "must be below max_frequency");
  if (options.high > kSpeechRate / 2.0) extractor.fail("max_frequency", "must be at most 8000");
  if (options.floor <= 0) extractor.fail("mel_floor", "must be above 0");
  for (const char* key : {"per_bin_mean", "per_bin_stddev"}) {
    if (extractor.has(key)) extractor.fail(key, "is not built in");
  }
  return options;
}

class Gemma3nAudioProcessor : public AudioProcessor {
 public:
  explicit Gemma3nAudioProcessor(const ProcessorFiles& files)
      : tokens_(files.processor.whole("audio_seq_length", files.config.whole("audio_soft_tokens_per_image", 188), 1,
                                      1 << 16)),
        mel_(options_of(extractor_of(files))) {}

  ProcessedAudio process(std::span<const float> samples) const override {
    const auto size = static_cast<int64_t>(samples.size());
    const int64_t frames = mel_.frames_of((size + kMultiple - 1) / kMultiple * kMultiple);
    if (frames < 1) throw Error(ErrorKind::invalid, "the recording is too short for this model: 0.03 seconds");
    if (size > kMost) throw too_long(samples.size(), most_seconds(0));
    MediaData data;
    data.shape = {1, static_cast<int>(frames), mel_.mels()};
    data.values = mel_(samples, frames);
    return processed_audio(std::move(data), audio_token(), tokens_, "\n\n<start_of_audio>", "<end_of_audio>\n\n");
  }
  std::string audio_token() const override { return "<audio_soft_token>"; }
  double most_seconds(int64_t /*tokens*/) const override { return kMost / kSpeechRate; }

 private:
  int tokens_;
  UsmMel mel_;
};

}  // namespace

std::unique_ptr<AudioProcessor> make_gemma3n_audio(const ProcessorFiles& files) {
  return std::make_unique<Gemma3nAudioProcessor>(files);
}

}  // namespace mlxk
