#pragma once

#include <vector>

namespace mlxk {

/// A triangle over the bins of a spectrum.
struct MelBand {
  int first;                   // bin
  std::vector<float> weights;  // of it and of later ones
};

/// Triangles whose edges are evenly spaced on Slaney's mel scale from `low` to `high` Hz, each of area 1, over the bins
/// of a transform of `size` samples at `rate` a second.
std::vector<MelBand> slaney_bands(int mels, int size, double rate, double low, double high);

/// The same on HTK's mel scale, each of height 1.
std::vector<MelBand> htk_bands(int mels, int size, double rate, double low, double high);

/// Kaldi's: triangles of height 1 that are straight on the scale 1127 ln(1 + f / 700), evenly spaced on it.
std::vector<MelBand> kaldi_bands(int mels, int size, double rate, double low, double high);

}  // namespace mlxk
