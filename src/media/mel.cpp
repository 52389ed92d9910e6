#include "media/mel.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "media/real_fft.h"

namespace mlxk {

namespace {

const std::array<float, kFftSize>& window() {
  static const auto values = [] {
    std::array<float, kFftSize> hann{};
    for (int i = 0; i < kFftSize; ++i) {
      hann[static_cast<size_t>(i)] = static_cast<float>(0.5 - 0.5 * std::cos(2 * M_PI * i / kFftSize));
    }
    return hann;
  }();
  return values;
}

}  // namespace

LogMel::LogMel(int mels) : mels_(mels), bands_(slaney_bands(mels, kFftSize, kSpeechRate, 0, kSpeechRate / 2.0)) {}

void LogMel::power(std::span<const float> samples, int64_t begin, int64_t first, int64_t count,
                   std::span<float> out) const {
  const auto& hann = window();
  const int64_t end = begin + static_cast<int64_t>(samples.size());
  float frames[kFftSize * kFftLanes], spectra[kFftBins * kFftLanes];
  for (int64_t at = 0; at < count; at += kFftLanes) {
    const auto lanes = static_cast<int>(std::min<int64_t>(kFftLanes, count - at));
    std::fill(std::begin(frames), std::end(frames), 0.0F);
    for (int lane = 0; lane < lanes; ++lane) {
      const int64_t start = (first + at + lane) * kMelHop - kFftSize / 2;
      for (int i = 0; i < kFftSize; ++i) {
        const int64_t sample = std::abs(start + i);
        if (sample < begin || sample >= end) continue;
        frames[i * kFftLanes + lane] = samples[static_cast<size_t>(sample - begin)] * hann[static_cast<size_t>(i)];
      }
    }
    power_spectra(frames, spectra);
    for (int m = 0; m < mels_; ++m) {
      float sums[kFftLanes] = {};
      const MelBand& band = bands_[static_cast<size_t>(m)];
      for (size_t k = 0; k < band.weights.size(); ++k) {
        const float* bin = spectra + (static_cast<size_t>(band.first) + k) * kFftLanes;
        for (int lane = 0; lane < kFftLanes; ++lane) sums[lane] += bin[lane] * band.weights[k];
      }
      for (int lane = 0; lane < lanes; ++lane) {
        out[static_cast<size_t>((at + lane) * mels_ + m)] = std::log10(std::max(sums[lane], 1e-10F));
      }
    }
  }
}

void normalise_mel(std::span<float> features, float peak) {
  for (float& x : features) x = (std::max(x, peak - 8.0F) + 4.0F) / 4.0F;
}

}  // namespace mlxk
