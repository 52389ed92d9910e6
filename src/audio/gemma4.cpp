// Gemma 4: frames of 20 ms, 10 ms apart, without padding.
//   shape [1, frames, mels]
// Source: transformers' Gemma4AudioFeatureExtractor and Gemma4Processor.
#include <fmt/format.h>

#include <algorithm>

#include "audio/families.h"
#include "audio/usm_mel.h"
#include "base/error.h"

namespace mlxk {

namespace {

class Gemma4AudioProcessor : public AudioProcessor {
 public:
  explicit Gemma4AudioProcessor(const ProcessorFiles& files)
      : most_tokens_(files.processor.whole("audio_seq_length", 750, 1, 1 << 16)),
        mel_({.mels = extractor_of(files).whole("feature_size", 128, 1, 1024),
              .frame = 320,
              .size = 512,
              .silence = kMelHop,
              .floor = 1e-3,
              .adds_floor = true}) {}

  ProcessedAudio process(std::span<const float> samples) const override {
    const int64_t frames = mel_.frames_of(static_cast<int64_t>(samples.size()));
    if (frames < 1) throw Error(ErrorKind::invalid, "the recording is too short for this model: 0.01 seconds");
    const int64_t tokens = half_length(half_length(static_cast<int>(std::min<int64_t>(frames, 1 << 24))));
    if (tokens > most_tokens_) throw too_long(samples.size(), most_seconds(0));
    MediaData data;
    data.shape = {1, static_cast<int>(frames), mel_.mels()};
    data.values = mel_(samples, frames);
    return processed_audio(std::move(data), audio_token(), static_cast<int>(tokens), "<|audio>", "<audio|>");
  }
  std::string audio_token() const override { return "<|audio|>"; }
  double most_seconds(int64_t /*tokens*/) const override { return most_tokens_ * 4 / kFramesPerSecond; }

 private:
  int most_tokens_;
  UsmMel mel_;
};

}  // namespace

std::unique_ptr<AudioProcessor> make_gemma4_audio(const ProcessorFiles& files) {
  return std::make_unique<Gemma4AudioProcessor>(files);
}

}  // namespace mlxk
