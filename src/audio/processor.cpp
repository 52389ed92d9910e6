#include "audio/processor.h"

#include <fmt/format.h>

#include <algorithm>

#include "audio/families.h"
#include "base/error.h"

namespace mlxk {

namespace {

constexpr int kHalfWindow = 200;  // samples of a frame on either side of its middle

struct Family {
  const char* model_type;
  std::unique_ptr<AudioProcessor> (*make)(const ProcessorFiles&);
};

constexpr Family kFamilies[] = {
    {"gemma3n", make_gemma3n_audio}, {"gemma4", make_gemma4_audio}, {"qwen2_audio", make_qwen2_audio},
    {"qwen3_asr", make_qwen3_asr},   {"vibevoice", make_vibevoice}, {"vibevoice_asr", make_vibevoice},
    {"voxtral", make_voxtral},
};

}  // namespace

std::vector<float> log_mel_features(std::span<const float> samples, int64_t frames, const LogMel& mel) {
  const auto end = static_cast<size_t>(frames * kMelHop);
  std::vector<float> sound(samples.begin(), samples.end());
  sound.resize(std::max(end, sound.size()));
  // Padding by reflection: the last sample is followed by the one before it.
  const size_t size = sound.size();
  for (size_t i = 0; i < kHalfWindow; ++i) sound.push_back(i + 2 <= size ? sound[size - 2 - i] : 0.0F);
  std::vector<float> features(static_cast<size_t>(frames) * static_cast<size_t>(mel.mels()));
  if (frames == 0) return features;
  mel.power(sound, 0, 0, frames, features);
  normalise_mel(features, *std::max_element(features.begin(), features.end()));
  return features;
}

Settings extractor_of(const ProcessorFiles& files) {
  const Settings in_processor = files.processor.inner("feature_extractor");
  return in_processor.has("feature_size") ? in_processor : files.image;
}

LogMel log_mel_of(const ProcessorFiles& files, const Settings& audio) {
  const Settings extractor = extractor_of(files);
  for (const auto& [key, wanted] : {std::pair("sampling_rate", kSpeechRate), std::pair("hop_length", kMelHop),
                                    std::pair("n_fft", 2 * kHalfWindow)}) {
    if (extractor.whole(key, wanted) != wanted) extractor.fail(key, fmt::format("must be {}", wanted));
  }
  return LogMel(extractor.whole("feature_size", audio.whole("num_mel_bins", 128, 1, 1024), 1, 1024));
}

Error too_long(size_t samples, double most_seconds) {
  return Error(ErrorKind::invalid, fmt::format("the recording has {:.1f} seconds, this model accepts {:g} at most",
                                               static_cast<double>(samples) / kSpeechRate, most_seconds));
}

ProcessedAudio processed_audio(MediaData data, const std::string& token, int tokens, const std::string& before,
                               const std::string& after) {
  data.kind = MediaKind::audio;
  ProcessedAudio audio{with_digest(std::move(data)), before, tokens};
  audio.text.reserve(before.size() + after.size() + token.size() * static_cast<size_t>(tokens));
  for (int i = 0; i < tokens; ++i) audio.text += token;
  audio.text += after;
  return audio;
}

std::unique_ptr<AudioProcessor> open_audio_processor(const std::filesystem::path& dir) {
  const ProcessorFiles files(dir);
  const std::string type = files.config.text("model_type", "");
  for (const Family& family : kFamilies)
    if (type == family.model_type) return family.make(files);
  throw Error(ErrorKind::unsupported,
              fmt::format("[{}] there is no audio processor for model_type \"{}\"", dir.string(), type));
}

}  // namespace mlxk
