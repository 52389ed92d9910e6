#include "media/mel_bands.h"

#include <algorithm>
#include <cmath>

namespace mlxk {
namespace {

// Slaney's scale: linear below 1 kHz, 15 mel, then a factor of 6.4 for 27 mel.
constexpr double kBreakHertz = 1000, kHertzPerMel = 200.0 / 3, kBreakMel = kBreakHertz / kHertzPerMel;
const double kLogStep = std::log(6.4) / 27;

double mel_of(double hertz) {
  return hertz < kBreakHertz ? hertz / kHertzPerMel : kBreakMel + std::log(hertz / kBreakHertz) / kLogStep;
}

double hertz_of(double mel) {
  return mel < kBreakMel ? mel * kHertzPerMel : kBreakHertz * std::exp(kLogStep * (mel - kBreakMel));
}

}  // namespace

std::vector<MelBand> slaney_bands(int mels, int size, double rate, double low, double high) {
  const double bottom = mel_of(low), span = mel_of(high) - bottom;
  const auto edge = [&](int i) { return hertz_of(bottom + span * i / (mels + 1)); };
  std::vector<MelBand> bands;
  for (int m = 0; m < mels; ++m) {
    const double left = edge(m), middle = edge(m + 1), right = edge(m + 2);
    MelBand band{-1, {}};
    for (int bin = 0; bin <= size / 2; ++bin) {
      const double hertz = bin * rate / size;
      const double weight = std::min((hertz - left) / (middle - left), (right - hertz) / (right - middle));
      if (weight <= 0) continue;
      if (band.first < 0) band.first = bin;
      band.weights.push_back(static_cast<float>(weight * 2 / (right - left)));
    }
    bands.push_back(std::move(band));
  }
  return bands;
}

std::vector<MelBand> kaldi_bands(int mels, int size, double rate, double low, double high) {
  const auto scaled = [](double hertz) { return 1127 * std::log(1 + hertz / 700); };
  const double bottom = scaled(low), step = (scaled(high) - bottom) / (mels + 1);
  std::vector<MelBand> bands;
  for (int m = 0; m < mels; ++m) {
    const double left = bottom + step * m;
    MelBand band{-1, {}};
    for (int bin = 0; bin < size / 2; ++bin) {
      const double at = (scaled(bin * rate / size) - left) / step;
      const double weight = std::min(at, 2 - at);
      if (weight <= 0) continue;
      if (band.first < 0) band.first = bin;
      band.weights.push_back(static_cast<float>(weight));
    }
    bands.push_back(std::move(band));
  }
  return bands;
}

}  // namespace mlxk
