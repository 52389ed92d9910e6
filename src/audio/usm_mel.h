#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "media/mel.h"
#include "media/radix2.h"

namespace mlxk {

struct UsmMelOptions {
  int mels = 128;
  int frame = 0, size = 0;                   // samples of a frame and of its transform
  int silence = 0;                           // samples before the recording
  double low = 0, high = kSpeechRate / 2.0;  // Hz
  double preemphasis = 0;
  double floor = 0;
  bool adds_floor = false;  // else it is the least
};

/// The features of Google's Universal Speech Model: logarithms of magnitudes in bands of HTK's mel scale, of frames (a
/// periodic Hann window) 10 ms apart. Immutable; any thread.
class UsmMel {
 public:
  explicit UsmMel(const UsmMelOptions& options);
  int mels() const { return options_.mels; }
  /// The frames of a recording. A frame is one sample longer than the part of it that is used.
  int64_t frames_of(int64_t samples) const;
  /// The first `frames` frames: [frames, mels].
  std::vector<float> operator()(std::span<const float> samples, int64_t frames) const;

 private:
  UsmMelOptions options_;
  Radix2 transform_;
  std::vector<MelBand> bands_;
  std::vector<float> window_;
};

}  // namespace mlxk
