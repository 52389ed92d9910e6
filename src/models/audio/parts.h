#pragma once

#include <string>
#include <vector>

#include "models/media_encoder.h"
#include "models/vision/vit.h"
#include "nn/conv.h"

namespace mlxk {

/// Common parts of audio encoders.

/// The audio_config of encoders like Whisper's.
struct AudioConfig : VisionConfig {
  /// Reads the keys, also under transformers' older names (d_model, encoder_layers, …). Throws bad_model or unsupported
  /// naming the key.
  static AudioConfig read(const Config& config);

  int mels, positions;
};

/// The blocks of Whisper's encoder; `k_bias`: the keys have a bias.
VitOptions whisper_blocks(bool k_bias);

/// [1, positions, width]: sines of each position at wavelengths from 2π to 20000π, then their cosines.
mx::array sinusoids(int positions, int width, mx::Dtype type);
/// The same of `positions`: [positions, width].
mx::array sinusoids(const std::vector<int>& positions, int width, mx::Dtype type);

/// Whisper's encoder (https://arxiv.org/abs/2212.04356) up to its last block: two convolutions, positions, blocks.
class WhisperTower {
 public:
  /// Reads conv1, conv2, embed_positions (computed if absent) and layers at `path`.
  WhisperTower(const AudioConfig& c, const WeightPath& path, mx::Dtype type);
  /// Features [1, 2 * positions, mels] → [1, length, hidden], the first `length` of the positions only.
  mx::array operator()(const mx::array& features, int length, std::vector<mx::array>& stages) const;

 private:
  Conv1d conv1_, conv2_;
  mx::array positions_;
  Vit blocks_;
};

/// Transposes the kernel of a convolution over `in` channels at `path` to [out, width, in] from PyTorch's [out, in,
/// width]. Returns `path`.
const WeightPath& with_channels_last(const WeightPath& path, int in, int width);

/// The recordings of `data`, whose shape is [count, frames, mels], each [1, frames, mels]; `frames` 0: any.
std::vector<mx::array> windows_of(const MediaData& data, int frames, int mels, mx::Dtype type);

/// The error for media that this encoder does not accept.
Error unfit_audio(const std::string& what);

/// Removes `prefix` from the names that begin with it.
void strip_prefix(Weights& weights, const std::string& prefix);

}  // namespace mlxk
