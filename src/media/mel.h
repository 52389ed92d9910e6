#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "media/mel_bands.h"

namespace mlxk {

constexpr int kSpeechRate = 16000;  // samples a second
constexpr double kFramesPerSecond = 100;
constexpr int kMelHop = 160;  // samples from one frame to the next

/// Whisper's features of sound at 16 kHz: the power of 25 ms around every 10 ms (periodic Hann window) in bands of
/// Slaney's mel scale. Immutable; any thread.
class LogMel {
 public:
  explicit LogMel(int mels);
  int mels() const { return mels_; }
  /// log10 of the power, at least 1e-10, of frames [first, first + count) into `out` [count, mels]. Frame i is centred
  /// on sample 160 i of the sound; `samples` holds the sound from its sample `begin` on. Before its first sample the
  /// sound is mirrored, past `samples` it is silent.
  void power(std::span<const float> samples, int64_t begin, int64_t first, int64_t count, std::span<float> out) const;

 private:
  int mels_;
  std::vector<MelBand> bands_;
};

/// The features in the form that the model reads: clamped to at most 8 below the sound's `peak` (its largest log10), (x
/// + 4) / 4.
void normalise_mel(std::span<float> features, float peak);

}  // namespace mlxk
