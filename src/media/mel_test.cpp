#include "media/mel.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "media/real_fft.h"

namespace mlxk {
namespace {

TEST(PowerSpectra, EqualTheDefinition) {
  std::mt19937 random(7);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> x(kFftSize * kFftLanes), power(kFftBins * kFftLanes);
  for (float& v : x) v = uniform(random);
  const std::vector<float> original = x;
  power_spectra(x.data(), power.data());
  for (int lane : {0, 3, kFftLanes - 1}) {
    for (int k = 0; k < kFftBins; ++k) {
      double re = 0, im = 0;
      for (int i = 0; i < kFftSize; ++i) {
        const double v = original[static_cast<size_t>(i * kFftLanes + lane)], angle = -2 * M_PI * i * k / kFftSize;
        re += v * std::cos(angle);
        im += v * std::sin(angle);
      }
      ASSERT_NEAR(power[static_cast<size_t>(k * kFftLanes + lane)], re * re + im * im, 2e-3) << "bin " << k;
    }
  }
}

TEST(LogMel, DoesNotDependOnWhereThePiecesAreCut) {
  std::mt19937 random(8);
  std::normal_distribution<float> normal(0, 0.1F);
  std::vector<float> sound(16000);
  for (float& v : sound) v = normal(random);
  const LogMel mel(80);
  std::vector<float> whole(100 * 80), part(10 * 80);
  mel.power(sound, 0, 0, 100, whole);
  const int64_t first = 41, begin = first * kMelHop - 200;
  mel.power(std::span(sound).subspan(static_cast<size_t>(begin)), begin, first, 10, part);
  for (size_t i = 0; i < part.size(); ++i) EXPECT_EQ(part[i], whole[static_cast<size_t>(first) * 80 + i]);
}

TEST(LogMel, OfSilenceIsTheFloor) {
  const LogMel mel(128);
  std::vector<float> out(3 * 128, 1.0F), sound(480);
  mel.power(sound, 0, 0, 3, out);
  for (const float x : out) EXPECT_EQ(x, -10.0F);
  normalise_mel(out, -10.0F);
  for (const float x : out) EXPECT_EQ(x, -1.5F);
}

}  // namespace
}  // namespace mlxk
