// Gemma 4: frames of 20 ms, 10 ms apart, without padding; logarithms of magnitudes in bands of the HTK mel scale.
//   shape [1, frames, mels]
// Source: transformers' Gemma4AudioFeatureExtractor and Gemma4Processor.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>

#include "audio/families.h"
#include "base/error.h"
#include "media/radix2.h"

namespace mlxk {

namespace {

constexpr int kFrame = 320, kFft = 512, kBins = kFft / 2 + 1;  // samples, 20 ms at 16 kHz
constexpr double kFloor = 1e-3;

struct Band {
  int first = 0;
  std::vector<double> weights;  // of the first bin and those after it
};

/// Triangles whose edges are evenly spaced on HTK's scale, up to half the sample rate.
std::vector<Band> htk_bands(int mels) {
  const double top = 2595 * std::log10(1 + kSpeechRate / 2.0 / 700);
  const auto edge = [&](int i) { return 700 * (std::pow(10, top * i / (mels + 1) / 2595) - 1); };
  std::vector<Band> bands;
  for (int m = 0; m < mels; ++m) {
    const double low = edge(m), middle = edge(m + 1), high = edge(m + 2);
    Band band;
    for (int bin = 0; bin < kBins; ++bin) {
      const double hertz = bin * (kSpeechRate / 2.0) / (kBins - 1);
      const double weight = std::min((hertz - low) / (middle - low), (high - hertz) / (high - middle));
      if (weight <= 0) continue;
      if (band.weights.empty()) band.first = bin;
      band.weights.push_back(weight);
    }
    bands.push_back(std::move(band));
  }
  return bands;
}

class Gemma4AudioProcessor : public AudioProcessor {
 public:
  explicit Gemma4AudioProcessor(const ProcessorFiles& files)
      : most_tokens_(files.processor.whole("audio_seq_length", 750, 1, 1 << 16)),
        bands_(htk_bands(files.processor.inner("feature_extractor")
                             .whole("feature_size", files.image.whole("feature_size", 128, 1, 1024), 1, 1024))) {}

  ProcessedAudio process(std::span<const float> samples) const override {
    const auto count = static_cast<int64_t>(samples.size());
    const double seconds = static_cast<double>(count) / kSpeechRate;
    if (count <= kMelHop) throw Error(ErrorKind::invalid, "the recording is too short for this model: 0.01 seconds");
    // A frame is one sample longer than the part of it that is used.
    const int64_t frames = (count - kMelHop - 1) / kMelHop + 1;
    const int64_t tokens = half_length(half_length(static_cast<int>(std::min<int64_t>(frames, 1 << 24))));
    if (tokens > most_tokens_) {
      throw Error(ErrorKind::invalid, fmt::format("the recording has {:.1f} seconds, this model accepts {:g} at most",
                                                  seconds, most_seconds(0)));
    }
    MediaData data;
    data.shape = {1, static_cast<int>(frames), static_cast<int>(bands_.size())};
    data.values.reserve(static_cast<size_t>(frames) * bands_.size());
    for (int64_t frame = 0; frame < frames; ++frame) add_frame(data.values, samples, (frame - 1) * kMelHop);
    return processed_audio(std::move(data), audio_token(), static_cast<int>(tokens), "<|audio>", "<audio|>");
  }
  std::string audio_token() const override { return "<|audio|>"; }
  double most_seconds(int64_t /*tokens*/) const override { return most_tokens_ * 4 / kFramesPerSecond; }

 private:
  void add_frame(std::vector<float>& values, std::span<const float> samples, int64_t begin) const {
    static const auto window = [] {
      std::array<float, kFrame> hann{};
      for (int i = 0; i < kFrame; ++i) {
        hann[static_cast<size_t>(i)] = static_cast<float>(0.5 - 0.5 * std::cos(2 * M_PI * i / kFrame));
      }
      return hann;
    }();
    std::array<std::complex<double>, kFft> x{};
    for (int i = 0; i < kFrame; ++i) {
      const int64_t at = begin + i;
      const bool there = at >= 0 && at < static_cast<int64_t>(samples.size());
      if (there) x[static_cast<size_t>(i)] = samples[static_cast<size_t>(at)] * window[static_cast<size_t>(i)];
    }
    static const Radix2 transform(kFft);
    transform(x);
    for (const Band& band : bands_) {
      double sum = 0;
      for (size_t k = 0; k < band.weights.size(); ++k) {
        sum += std::abs(x[static_cast<size_t>(band.first) + k]) * band.weights[k];
      }
      values.push_back(static_cast<float>(std::log(sum + kFloor)));
    }
  }

  int most_tokens_;
  std::vector<Band> bands_;
};

}  // namespace

std::unique_ptr<AudioProcessor> make_gemma4_audio(const ProcessorFiles& files) {
  return std::make_unique<Gemma4AudioProcessor>(files);
}

}  // namespace mlxk
