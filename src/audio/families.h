#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "audio/processor.h"
#include "base/error.h"
#include "media/mel.h"
#include "vision/settings.h"

namespace mlxk {

/// The processor of each family, in the file of its name, and their common parts.
std::unique_ptr<AudioProcessor> make_gemma3n_audio(const ProcessorFiles& files);
std::unique_ptr<AudioProcessor> make_gemma4_audio(const ProcessorFiles& files);
std::unique_ptr<AudioProcessor> make_qwen2_audio(const ProcessorFiles& files);
std::unique_ptr<AudioProcessor> make_qwen3_asr(const ProcessorFiles& files);
std::unique_ptr<AudioProcessor> make_vibevoice(const ProcessorFiles& files);
std::unique_ptr<AudioProcessor> make_voxtral(const ProcessorFiles& files);

/// Whisper's features of `samples` in frames [0, frames), scaled by their own peak: [frames, mels]. As in
/// transformers the end is padded by reflection too; the end is the last of `samples`, or silence up to sample
/// 160 * frames.
std::vector<float> log_mel_features(std::span<const float> samples, int64_t frames, const LogMel& mel);

/// The settings of the feature extractor.
Settings extractor_of(const ProcessorFiles& files);

/// The mel filters: feature_size of the feature extractor, else num_mel_bins of `audio`, the audio_config.
LogMel log_mel_of(const ProcessorFiles& files, const Settings& audio);

/// The error for a recording that a family does not accept.
Error too_long(size_t samples, double most_seconds);

/// The number of frames that a convolution of stride 2 makes from `frames`.
inline int half_length(int frames) { return (frames + 1) / 2; }

/// The input of a model for a recording; its text is `before`, `token` once for each feature, `after`.
ProcessedAudio processed_audio(MediaData data, const std::string& token, int tokens, const std::string& before = "",
                               const std::string& after = "");

}  // namespace mlxk
