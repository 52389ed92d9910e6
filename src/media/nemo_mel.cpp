#include "media/nemo_mel.h"

#include <algorithm>
#include <cmath>
#include <complex>

#include "media/mel.h"

namespace mlxk {

NemoMel::NemoMel(const NemoMelOptions& options)
    : options_(options),
      window_(static_cast<size_t>(options.size)),
      bands_(slaney_bands(options.mels, options.size, kSpeechRate, options.low, options.high)),
      transform_(options.size) {
  const int before = (options.size - options.window) / 2;
  for (int i = 0; i < options.window; ++i) {
    window_[static_cast<size_t>(before + i)] = 0.5 - 0.5 * std::cos(2 * M_PI * i / std::max(1, options.window - 1));
  }
}

std::vector<float> NemoMel::operator()(std::span<const float> samples) const {
  const auto& o = options_;
  const auto count = static_cast<int64_t>(samples.size()), frames = count / o.hop;
  const auto mels = static_cast<size_t>(o.mels);
  std::vector<float> features(static_cast<size_t>(frames) * mels);
  std::vector<std::complex<double>> x(static_cast<size_t>(o.size));
  std::vector<double> power(static_cast<size_t>(o.size / 2 + 1));
  const auto at = [&](int64_t i) -> double {
    if (i < 0 || i >= count) return 0;
    const double before = i > 0 ? static_cast<double>(samples[static_cast<size_t>(i - 1)]) : 0;
    return static_cast<double>(samples[static_cast<size_t>(i)]) - o.preemphasis * before;
  };
  // Two frames at once, as real and imaginary part; their spectra are the even and the odd part of the result.
  for (int64_t frame = 0; frame < frames; frame += 2) {
    for (int i = 0; i < o.size; ++i) {
      const int64_t sample = frame * o.hop - o.size / 2 + i;
      const double weight = window_[static_cast<size_t>(i)];
      x[static_cast<size_t>(i)] = {weight == 0 ? 0 : weight * at(sample),
                                   weight == 0 ? 0 : weight * at(sample + o.hop)};
    }
    transform_(x);
    for (int part = 0; part < 2 && frame + part < frames; ++part) {
      for (int bin = 0; bin <= o.size / 2; ++bin) {
        const auto one = x[static_cast<size_t>(bin)],
                   other = std::conj(x[static_cast<size_t>((o.size - bin) % o.size)]);
        power[static_cast<size_t>(bin)] = std::norm(part == 0 ? one + other : one - other) / 4;
      }
      float* row = features.data() + static_cast<size_t>(frame + part) * mels;
      for (size_t m = 0; m < mels; ++m) {
        double sum = 0;
        for (size_t k = 0; k < bands_[m].weights.size(); ++k) {
          sum += power[static_cast<size_t>(bands_[m].first) + k] * static_cast<double>(bands_[m].weights[k]);
        }
        row[m] = static_cast<float>(std::log(sum + o.guard));
      }
    }
  }
  for (size_t m = 0; m < mels && o.normalise && frames > 0; ++m) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < frames; ++i) sum += static_cast<double>(features[static_cast<size_t>(i) * mels + m]);
    const double mean = sum / static_cast<double>(frames);
    for (int64_t i = 0; i < frames; ++i) {
      const double far = static_cast<double>(features[static_cast<size_t>(i) * mels + m]) - mean;
      squares += far * far;
    }
    const double deviation = std::sqrt(squares / static_cast<double>(std::max<int64_t>(1, frames - 1))) + 1e-5;
    for (int64_t i = 0; i < frames; ++i) {
      float& value = features[static_cast<size_t>(i) * mels + m];
      value = static_cast<float>((static_cast<double>(value) - mean) / deviation);
    }
  }
  return features;
}

}  // namespace mlxk
