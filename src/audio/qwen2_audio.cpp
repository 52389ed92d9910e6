// Qwen2-Audio: one window of 30 seconds, padded with silence.
//   shape [1, 3000, mels], grid {frames without padding}
// Source: transformers' Qwen2AudioProcessor with WhisperFeatureExtractor.
#include "audio/families.h"

namespace mlxk {

namespace {

class Qwen2AudioProcessor : public AudioProcessor {
 public:
  explicit Qwen2AudioProcessor(const ProcessorFiles& files)
      : mel_(log_mel_of(files, files.config.inner("audio_config"))),
        frames_(2 * files.config.inner("audio_config").whole("max_source_positions", 1500, 1, 1 << 16)) {}

  ProcessedAudio process(std::span<const float> samples) const override {
    const auto frames = static_cast<int64_t>((samples.size() + kMelHop - 1) / kMelHop);
    if (frames > frames_) throw too_long(samples.size(), most_seconds(0));
    const int tokens = static_cast<int>(frames + 1) / 4;  // two convolutions of stride 2, the second without padding
    if (tokens < 1)
      throw Error(ErrorKind::invalid, "the recording is too short for this model: less than 0.03 seconds");
    MediaData data;
    data.values = log_mel_features(samples, frames_, mel_);
    data.shape = {1, frames_, mel_.mels()};
    data.grid = {static_cast<int>(frames)};
    return processed_audio(std::move(data), audio_token(), tokens);
  }
  std::string audio_token() const override { return "<|AUDIO|>"; }
  double most_seconds(int64_t /*tokens*/) const override { return frames_ / kFramesPerSecond; }

 private:
  LogMel mel_;
  int frames_;
};

}  // namespace

std::unique_ptr<AudioProcessor> make_qwen2_audio(const ProcessorFiles& files) {
  return std::make_unique<Qwen2AudioProcessor>(files);
}

}  // namespace mlxk
