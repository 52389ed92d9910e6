#include "media/raw_sound.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "base/error.h"

namespace mlxk {
namespace {

constexpr double kPi = 3.14159265358979;

/// A second of 440 Hz at half of full scale.
std::string tone(int rate) {
  std::string bytes;
  for (int i = 0; i < rate; ++i) {
    const auto sample = static_cast<int16_t>(std::lround(16384 * std::sin(2 * kPi * 440 * i / rate)));
    bytes += static_cast<char>(sample & 0xFF);
    bytes += static_cast<char>(sample >> 8);
  }
  return bytes;
}

std::vector<float> all_of(RawSound sound, const std::string& bytes, size_t piece) {
  std::vector<float> samples;
  for (size_t at = 0; at < bytes.size(); at += piece) sound.push(bytes.substr(at, piece), samples);
  sound.finish(samples);
  return samples;
}

TEST(RawSound, AnyRateBecomes16kHzWhateverThePieces) {
  for (const int rate : {16'000, 24'000, 8'000, 44'100}) {
    const auto samples = all_of(RawSound(RawFormat::s16le, rate), tone(rate), 777);
    ASSERT_EQ(samples.size(), 16'000U) << rate;
    for (size_t i = 1'000; i < 15'000; ++i) {
      ASSERT_NEAR(samples[i], 0.5 * std::sin(2 * kPi * 440 * static_cast<double>(i) / 16'000), 2e-3)
          << rate << " " << i;
    }
  }
}

TEST(RawSound, SamplesAreResampledToAnyRate) {
  std::vector<float> samples;
  for (int i = 0; i < 16'000; ++i) samples.push_back(static_cast<float>(0.5 * std::sin(2 * kPi * 440 * i / 16'000)));
  const auto more = resampled(samples, 16'000, 24'000);
  ASSERT_EQ(more.size(), 24'000U);
  for (size_t i = 1'500; i < 22'500; ++i) {
    ASSERT_NEAR(more[i], 0.5 * std::sin(2 * kPi * 440 * static_cast<double>(i) / 24'000), 2e-3) << i;
  }
  EXPECT_THROW(resampled(samples, 16'000, 10), Error);
}

TEST(RawSound, TheLawsOfG711) {
  // Values of ITU-T G.711's tables, at 16 bits.
  const auto ulaw = all_of(RawSound(RawFormat::ulaw, 16'000), std::string("\xff\x7f\x80\x00\xf0\x8f", 6), 4);
  const std::vector<int> expected = {0, 0, 32124, -32124, 120, 16764};
  ASSERT_EQ(ulaw.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_FLOAT_EQ(ulaw[i] * 32768, static_cast<float>(expected[i])) << i;
  const auto alaw = all_of(RawSound(RawFormat::alaw, 16'000), std::string("\xd5\x55\xaa\x2a\x80", 5), 2);
  const std::vector<int> others = {8, -8, 32256, -32256, 5504};
  ASSERT_EQ(alaw.size(), others.size());
  for (size_t i = 0; i < others.size(); ++i) EXPECT_FLOAT_EQ(alaw[i] * 32768, static_cast<float>(others[i])) << i;
}

TEST(RawSound, FinishBeginsAnew) {
  RawSound sound(RawFormat::s16le, 24'000);
  std::vector<float> first, second;
  sound.push(tone(24'000) + "x", first);
  sound.finish(first);
  sound.push(tone(24'000), second);
  sound.finish(second);
  EXPECT_EQ(first, second);
}

TEST(RawSound, RatesThatAreNone) {
  EXPECT_THROW(RawSound(RawFormat::s16le, 1), Error);
  EXPECT_THROW(RawSound(RawFormat::s16le, 1'000'000), Error);
}

}  // namespace
}  // namespace mlxk
