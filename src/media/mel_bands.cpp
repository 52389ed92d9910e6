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

/// A triangle over each two neighbouring spaces between `edges`, in Hz; of area 1, else of height 1.
std::vector<MelBand> triangles(const std::vector<double>& edges, int size, double rate, bool of_area_1) {
  std::vector<MelBand> bands;
  for (size_t m = 0; m + 2 < edges.size(); ++m) {
    const double left = edges[m], middle = edges[m + 1], right = edges[m + 2];
    MelBand band{-1, {}};
    for (int bin = 0; bin <= size / 2; ++bin) {
      const double hertz = bin * rate / size;
      const double weight = std::min((hertz - left) / (middle - left), (right - hertz) / (right - middle));
      if (weight <= 0) continue;
      if (band.first < 0) band.first = bin;
      band.weights.push_back(static_cast<float>(of_area_1 ? weight * 2 / (right - left) : weight));
    }
    bands.push_back(std::move(band));
  }
  return bands;
}

/// The edges of `mels` bands, evenly spaced between two points of a scale that `to_hertz` converts.
template <class F>
std::vector<double> edges_of(int mels, double bottom, double top, const F& to_hertz) {
  std::vector<double> edges;
  edges.reserve(static_cast<size_t>(mels) + 2);
  for (int i = 0; i < mels + 2; ++i) edges.push_back(to_hertz(bottom + (top - bottom) * i / (mels + 1)));
  return edges;
}

}  // namespace

std::vector<MelBand> slaney_bands(int mels, int size, double rate, double low, double high) {
  return triangles(edges_of(mels, mel_of(low), mel_of(high), hertz_of), size, rate, true);
}

std::vector<MelBand> htk_bands(int mels, int size, double rate, double low, double high) {
  const auto mel = [](double hertz) { return 2595 * std::log10(1 + hertz / 700); };
  const auto hertz = [](double at) { return 700 * (std::pow(10, at / 2595) - 1); };
  return triangles(edges_of(mels, mel(low), mel(high), hertz), size, rate, false);
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
