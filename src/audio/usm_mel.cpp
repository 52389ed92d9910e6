// Source: transformers' Gemma3nAudioFeatureExtractor and Gemma4AudioFeatureExtractor.
#include "audio/usm_mel.h"

#include <algorithm>
#include <cmath>
#include <complex>

namespace mlxk {

UsmMel::UsmMel(const UsmMelOptions& options)
    : options_(options),
      transform_(options.size),
      bands_(htk_bands(options.mels, options.size, kSpeechRate, options.low, options.high)) {
  for (int i = 0; i < options.frame; ++i) {
    window_.push_back(static_cast<float>(0.5 - 0.5 * std::cos(2 * M_PI * i / options.frame)));
  }
}

int64_t UsmMel::frames_of(int64_t samples) const {
  const int64_t rest = samples + options_.silence - options_.frame - 1;
  return rest < 0 ? 0 : rest / kMelHop + 1;
}

std::vector<float> UsmMel::operator()(std::span<const float> samples, int64_t frames) const {
  std::vector<float> values;
  values.reserve(static_cast<size_t>(frames) * bands_.size());
  std::vector<std::complex<double>> x(static_cast<size_t>(options_.size));
  const auto preemphasis = static_cast<float>(options_.preemphasis);
  for (int64_t frame = 0; frame < frames; ++frame) {
    const int64_t begin = frame * kMelHop - options_.silence;
    const auto sample = [&](int64_t at) {
      return at >= 0 && at < static_cast<int64_t>(samples.size()) ? samples[static_cast<size_t>(at)] : 0.0F;
    };
    std::fill(x.begin(), x.end(), 0);
    for (int i = 0; i < options_.frame; ++i) {
      const float now = sample(begin + i), before = i == 0 ? now : sample(begin + i - 1);
      x[static_cast<size_t>(i)] = (now - preemphasis * before) * window_[static_cast<size_t>(i)];
    }
    transform_(x);
    for (const MelBand& band : bands_) {
      double sum = 0;
      for (size_t k = 0; k < band.weights.size(); ++k) {
        sum += std::abs(x[static_cast<size_t>(band.first) + k]) * double{band.weights[k]};
      }
      values.push_back(
          static_cast<float>(std::log(options_.adds_floor ? sum + options_.floor : std::max(sum, options_.floor))));
    }
  }
  return values;
}

}  // namespace mlxk
