// Voxtral: windows of 30 seconds, the last padded with silence; features scaled by the peak of the whole recording.
//   shape [windows, 3000, mels]
// Source: transformers' VoxtralProcessor; the prompts are mistral-common's.
#include <algorithm>

#include "audio/families.h"

namespace mlxk {

namespace {

class VoxtralProcessor : public AudioProcessor {
 public:
  explicit VoxtralProcessor(const ProcessorFiles& files)
      : VoxtralProcessor(files, files.config.inner("audio_config")) {}

  ProcessedAudio process(std::span<const float> samples) const override {
    const auto size = static_cast<int64_t>(samples.size()), window = int64_t{frames_} * kMelHop;
    const int64_t windows = std::max<int64_t>(1, (size + window - 1) / window);
    MediaData data;
    data.values = log_mel_features(samples, windows * frames_, mel_);
    data.shape = {static_cast<int>(windows), frames_, mel_.mels()};
    return processed_audio(std::move(data), audio_token(), static_cast<int>(windows) * tokens_, "[BEGIN_AUDIO]");
  }
  std::string audio_token() const override { return "[AUDIO]"; }
  double most_seconds(int64_t tokens) const override {
    return static_cast<double>(tokens / tokens_ * frames_) / kFramesPerSecond;
  }
  std::optional<std::string> transcript_prompt(const std::string& recording,
                                               const TranscriptRequest& request) const override {
    const std::string language = request.language_code.empty() ? "" : "lang:" + request.language_code;
    return "<s>[INST]" + recording + "[/INST]" + language + "[TRANSCRIBE]";
  }

 private:
  VoxtralProcessor(const ProcessorFiles& files, const Settings& audio)
      : mel_(log_mel_of(files, audio)), frames_(2 * audio.whole("max_source_positions", 1500, 1, 1 << 16)) {
    const int hidden = audio.whole("hidden_size", audio.whole("d_model", 1280));
    const int wide = audio.whole("intermediate_size", audio.whole("encoder_ffn_dim", 5120));
    if (frames_ / 2 * static_cast<int64_t>(hidden) < wide) audio.fail("intermediate_size", "exceeds a window");
    tokens_ = static_cast<int>(frames_ / 2 * static_cast<int64_t>(hidden) / wide);
  }

  LogMel mel_;
  int frames_, tokens_;  // of a window
};

}  // namespace

std::unique_ptr<AudioProcessor> make_voxtral(const ProcessorFiles& files) {
  return std::make_unique<VoxtralProcessor>(files);
}

}  // namespace mlxk
