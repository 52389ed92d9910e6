#include "media/kaldi_mel.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <complex>

#include "media/mel.h"

namespace mlxk {
namespace {

constexpr double kInt16 = 32768;  // Kaldi's samples are 16-bit integers
constexpr double kPreemphasis = 0.97, kLowest = 20;
constexpr double kFloor = 1.1920928955078125e-07;  // of the power

}  // namespace

KaldiMel::KaldiMel(KaldiMelOptions options)
    : options_(std::move(options)),
      transform_(static_cast<int>(std::bit_ceil(static_cast<unsigned>(options_.window)))),
      bands_(kaldi_bands(options_.mels, transform_.size(), kSpeechRate, kLowest, kSpeechRate / 2.0)) {
  for (int i = 0; i < options_.window; ++i) {
    window_.push_back(0.54 - 0.46 * std::cos(2 * M_PI * i / (options_.window - 1)));
  }
}

std::vector<float> KaldiMel::frames(std::span<const float> samples) const {
  const auto hop = static_cast<size_t>(options_.hop);
  const size_t width = window_.size();
  std::vector<float> features;
  std::vector<std::complex<double>> x(static_cast<size_t>(transform_.size()));
  for (size_t at = 0; at + width <= samples.size(); at += hop) {
    const auto frame = samples.subspan(at, width);
    double mean = 0;
    for (const float value : frame) mean += static_cast<double>(value);
    mean /= static_cast<double>(width);
    std::fill(x.begin(), x.end(), 0);
    double before = kInt16 * (static_cast<double>(frame[0]) - mean);
    for (size_t i = 0; i < width; ++i) {
      const double value = kInt16 * (static_cast<double>(frame[i]) - mean);
      x[i] = window_[i] * (value - kPreemphasis * before);
      before = value;
    }
    transform_(x);
    for (const MelBand& band : bands_) {
      double sum = 0;
      for (size_t k = 0; k < band.weights.size(); ++k) {
        sum += std::norm(x[static_cast<size_t>(band.first) + k]) * static_cast<double>(band.weights[k]);
      }
      features.push_back(static_cast<float>(std::log(std::max(sum, kFloor))));
    }
  }
  return features;
}

std::vector<float> KaldiMel::operator()(std::span<const float> samples) const {
  const auto& o = options_;
  const std::vector<float> mel = frames(samples);
  const auto count = static_cast<int64_t>(mel.size()) / o.mels;
  std::vector<float> features;
  for (int64_t first = 0; first < count; first += o.step) {
    for (int64_t i = first - (o.stacked - 1) / 2; i <= first + o.stacked / 2; ++i) {
      const auto frame = mel.begin() + std::clamp<int64_t>(i, 0, count - 1) * o.mels;
      features.insert(features.end(), frame, frame + o.mels);
    }
  }
  for (size_t i = 0; i < features.size() && !o.scale.empty(); ++i) {
    const size_t k = i % o.scale.size();
    features[i] = (features[i] + o.shift[k]) * o.scale[k];
  }
  return features;
}

}  // namespace mlxk
