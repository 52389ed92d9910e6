#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "media/mel_bands.h"
#include "media/radix2.h"

namespace mlxk {

struct NemoMelOptions {
  int mels = 80;
  int size = 512;                  // of the transform, a power of 2
  int window = 400;                // samples
  int hop = 160;                   // likewise
  double preemphasis = 0.97;       // 0: none
  double low = 0, high = 8000;     // Hz
  double guard = 1.0 / (1 << 24);  // added before the logarithm
  bool normalise = true;           // each band by its mean and deviation in the recording
};

/// The features of NeMo's models (AudioToMelSpectrogramPreprocessor) of sound at 16 kHz: preemphasis, a symmetric Hann
/// window, the power in bands of Slaney's scale, its natural logarithm. Before and after the sound there is silence.
/// Immutable; any thread.
class NemoMel {
 public:
  explicit NemoMel(const NemoMelOptions& options);
  const NemoMelOptions& options() const { return options_; }
  /// The features [samples / hop, mels] of a whole recording.
  std::vector<float> operator()(std::span<const float> samples) const;

 private:
  NemoMelOptions options_;
  std::vector<double> window_;  // of the transform's size
  std::vector<MelBand> bands_;
  Radix2 transform_;
};

}  // namespace mlxk
