// Which frames may be speech. How far bands rise above their own noise follows the long-term spectral divergence of
// Ramírez, Segura, Benítez, de la Torre and Rubio, "Efficient voice activity detection algorithms using long-term
// speech information" (Speech Communication 42, 2004), with a low percentile of each band as its noise. Louder frames
// are voice if they repeat at a pitch (autocorrelation, Rabiner 1977) while the shape of their spectrum moves as fast
// as a mouth does, unlike notes, tones and hum.
#include "media/voice.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace mlxk {

namespace {

constexpr int kDecimation = 4;
constexpr int kPeriodSamples = 160, kShortestLag = 10, kLongestLag = 63;  // at 4 kHz
constexpr float kFaint = 1e-9F;                                           // with less energy nothing repeats

constexpr int kShapeBands = 40, kLoudBands = kShapeBands / 2, kUpperBands = kLoudBands - kLoudBands / 2;
constexpr double kNoiseShare = 0.15;  // of the frames count as noise, in each band
constexpr float kMinNoise = -85;      // dB
constexpr float kMaxExcess = 40;      // dB
constexpr float kAudible = 4;         // dB above the noise, mean of the louder half of the bands
constexpr float kShapeRange = 40;     // dB below the loudest band
constexpr int kShapeStep = 5;         // frames before and after, between which the shape moves
constexpr float kMoving = 3;          // dB, mean of the bands
constexpr float kVoiced = 0.5F;
constexpr int kAround = 100;          // frames on either side that determine a frame's kind
constexpr int kMinMoving = 10;        // of them
constexpr double kMovingShare = 0.7;  // of those with a pitch

using Shape = std::array<float, kShapeBands>;

/// The power of each frame in equal parts of its mel bands.
std::vector<Shape> band_powers(std::span<const float> powers, size_t mels) {
  constexpr float kBits = 3.3219281F;  // of a factor of ten
  std::vector<Shape> frames(powers.size() / mels);
  for (size_t i = 0; i < frames.size(); ++i) {
    for (size_t m = 0; m < mels; ++m) frames[i][m * kShapeBands / mels] += std::exp2(kBits * powers[i * mels + m]);
  }
  return frames;
}

float decibels(float power) { return 10 * std::log10(std::max(power, 1e-10F)); }

/// The mean over frames [i - reach, i + reach] of each band.
Shape mean_around(const std::vector<Shape>& frames, int64_t i, int64_t reach) {
  const auto count = static_cast<int64_t>(frames.size());
  Shape mean{};
  const int64_t first = std::max<int64_t>(i - reach, 0), last = std::min(i + reach, count - 1);
  for (int64_t f = first; f <= last; ++f) {
    for (size_t b = 0; b < kShapeBands; ++b) mean[b] += frames[static_cast<size_t>(f)][b];
  }
  for (float& x : mean) x /= static_cast<float>(last - first + 1);
  return mean;
}

std::vector<bool> audible_frames(const std::vector<Shape>& powers) {
  const size_t count = powers.size();
  std::vector<std::array<float, kLoudBands>> loud(count);
  for (size_t i = 0; i < count; ++i) {
    const Shape mean = mean_around(powers, static_cast<int64_t>(i), 2);
    for (size_t b = 0; b < kLoudBands; ++b) loud[i][b] = decibels(mean[2 * b] + mean[2 * b + 1]);
  }
  std::array<float, kLoudBands> noise{};
  std::vector<float> one(count);
  for (size_t b = 0; b < kLoudBands; ++b) {
    for (size_t i = 0; i < count; ++i) one[i] = loud[i][b];
    const auto at = one.begin() + static_cast<int64_t>(kNoiseShare * static_cast<double>(count));
    std::nth_element(one.begin(), at, one.end());
    noise[b] = std::max(*at, kMinNoise);
  }
  std::vector<bool> audible(count);
  for (size_t i = 0; i < count; ++i) {
    auto excess = loud[i];
    for (size_t b = 0; b < kLoudBands; ++b) excess[b] = std::clamp(excess[b] - noise[b], 0.0F, kMaxExcess);
    std::sort(excess.begin(), excess.end());
    float sum = 0;
    for (size_t b = kLoudBands / 2; b < kLoudBands; ++b) sum += excess[b];
    audible[i] = sum / kUpperBands > kAudible;
  }
  return audible;
}

/// For each frame, the difference of the spectrum's shape between 50 ms before and after it.
std::vector<bool> moving_frames(std::vector<Shape> bands) {
  const size_t count = bands.size();
  std::vector<Shape> shapes(count);
  for (Shape& frame : bands) {
    for (float& x : frame) x = decibels(x);
  }
  for (size_t i = 0; i < count; ++i) {
    Shape& shape = shapes[i] = mean_around(bands, static_cast<int64_t>(i), 1);
    const float least = *std::max_element(shape.begin(), shape.end()) - kShapeRange;
    float mean = 0;
    for (float& x : shape) mean += x = std::max(x, least);
    for (float& x : shape) x -= mean / kShapeBands;
  }
  std::vector<bool> moving(count);
  for (size_t i = kShapeStep; i + kShapeStep < count; ++i) {
    float change = 0;
    for (size_t b = 0; b < kShapeBands; ++b) change += std::abs(shapes[i + kShapeStep][b] - shapes[i - kShapeStep][b]);
    moving[i] = change / kShapeBands > kMoving;
  }
  return moving;
}

}  // namespace

float periodicity(std::span<const float> samples, int64_t begin, int64_t centre) {
  constexpr int kCount = 2 * kPeriodReach / kDecimation;
  static_assert(kCount >= kPeriodSamples + kLongestLag);
  std::array<float, kCount> x{};
  float mean = 0;
  for (int i = 0; i < kCount; ++i) {
    for (int k = 0; k < kDecimation; ++k) {
      const int64_t at = centre - kPeriodReach + i * kDecimation + k - begin;
      if (at < 0 || at >= static_cast<int64_t>(samples.size())) continue;
      x[static_cast<size_t>(i)] += samples[static_cast<size_t>(at)] / kDecimation;
    }
    mean += x[static_cast<size_t>(i)] / kCount;
  }
  for (float& one : x) one -= mean;
  const auto product = [&](int a, int b) {
    constexpr int kLanes = 16;
    std::array<float, kLanes> sums{};
    for (int i = 0; i < kPeriodSamples; i += kLanes) {
      for (int lane = 0; lane < kLanes; ++lane) {
        sums[static_cast<size_t>(lane)] += x[static_cast<size_t>(a + i + lane)] * x[static_cast<size_t>(b + i + lane)];
      }
    }
    float sum = 0;
    for (const float one : sums) sum += one;
    return sum;
  };
  const float own = product(0, 0);
  float most = 0, shifted = product(kShortestLag, kShortestLag);
  for (int lag = kShortestLag; lag <= kLongestLag; ++lag) {
    most = std::max(most, product(0, lag) / std::sqrt(own * std::max(shifted, 0.0F) + kFaint));
    if (lag == kLongestLag) break;
    const float out = x[static_cast<size_t>(lag)], in = x[static_cast<size_t>(lag + kPeriodSamples)];
    shifted += in * in - out * out;
  }
  return most;
}

std::vector<FrameKind> classify_frames(std::span<const float> powers, int mels, std::span<const float> periods) {
  auto bands = band_powers(powers, static_cast<size_t>(mels));
  const size_t count = bands.size();
  if (count == 0) return {};
  const auto audible = audible_frames(bands), moving = moving_frames(std::move(bands));
  std::vector<int> pitched(count + 1), lively(count + 1);  // how many before each frame
  for (size_t i = 0; i < count; ++i) {
    const bool pitch = audible[i] && periods[i] > kVoiced;
    pitched[i + 1] = pitched[i] + (pitch ? 1 : 0);
    lively[i + 1] = lively[i] + (pitch && moving[i] ? 1 : 0);
  }
  std::vector<FrameKind> heard(count, FrameKind::nothing);
  for (size_t i = 0; i < count; ++i) {
    if (!audible[i]) continue;
    const size_t from = i - std::min<size_t>(i, kAround), to = std::min(count, i + kAround + 1);
    const int all = pitched[to] - pitched[from], some = lively[to] - lively[from];
    heard[i] = some >= kMinMoving && some >= kMovingShare * all ? FrameKind::voice : FrameKind::sound;
  }
  return heard;
}

bool is_digital_silence(std::span<const float> powers) {
  constexpr float kNothing = -9;  // log10 of a band's power
  return std::all_of(powers.begin(), powers.end(), [](float x) { return x < kNothing; });
}

}  // namespace mlxk
