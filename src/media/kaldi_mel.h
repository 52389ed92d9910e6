#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "media/mel_bands.h"
#include "media/radix2.h"

namespace mlxk {

struct KaldiMelOptions {
  int mels = 80;
  int window = 400, hop = 160;  // samples
  int stacked = 7, step = 6;  // a feature holds `stacked` frames, one in the middle, and is `step` frames from the next
  std::vector<float> shift, scale;  // of each of a feature's mels * stacked numbers: (x + shift) * scale; empty: none
};

/// The features of FunASR's models (WavFrontend) of sound at 16 kHz: Kaldi's log power in mel bands from 20 Hz up
/// (Hamming window, preemphasis, no frame beyond the end), stacked and normalised. Immutable; any thread.
class KaldiMel {
 public:
  explicit KaldiMel(KaldiMelOptions options);
  const KaldiMelOptions& options() const { return options_; }
  /// The features [count, mels * stacked] of a whole recording; none if it is shorter than a window. The first and the
  /// last frame stand for those before and after them.
  std::vector<float> operator()(std::span<const float> samples) const;

 private:
  /// [count, mels]
  std::vector<float> frames(std::span<const float> samples) const;

  KaldiMelOptions options_;
  std::vector<double> window_;
  Radix2 transform_;
  std::vector<MelBand> bands_;
};

}  // namespace mlxk
