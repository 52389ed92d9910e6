#include "media/voice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "base/testing/test_paths.h"
#include "media/mel.h"

namespace mlxk {
namespace {

using Sound = std::vector<float>;

constexpr int kSeconds = 10;

/// Each sample from its time in seconds.
template <class Wave>
Sound sound(const Wave& wave) {
  Sound samples(kSeconds * kSpeechRate);
  for (size_t i = 0; i < samples.size(); ++i)
    samples[i] = static_cast<float>(wave(static_cast<double>(i) / kSpeechRate));
  return samples;
}

Sound noise(double level) {
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  return sound([&](double) { return level * normal(random); });
}

double sine(double hertz, double t) { return std::sin(2 * M_PI * hertz * t); }

/// A chord of tones with harmonics and vibrato that is struck every half second and fades.
Sound chords() {
  return sound([](double t) {
    double sum = 0;
    const double root = std::fmod(t, 4) < 2 ? 220 : 174.6;
    for (const double note : {1.0, 1.26, 1.5}) {
      for (int h = 1; h <= 6; ++h) sum += std::sin(2 * M_PI * root * note * h * t + 0.2 * h * sine(5.5, t)) / h;
    }
    return 0.05 * sum * std::exp(-3 * std::fmod(t, 0.5));
  });
}

Sound drums() {
  Sound all = noise(0.1);
  for (size_t i = 0; i < all.size(); ++i)
    all[i] *= std::exp(-40 * std::fmod(static_cast<float>(i) / kSpeechRate, 0.25F));
  return all;
}

Sound clip(const std::string& name) {
  std::ifstream file(std::filesystem::path(test_tree::kTestData) / "speech" / (name + ".wav"), std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), {});
  Sound samples;
  for (size_t i = 44; i + 1 < bytes.size(); i += 2) {
    const auto low = static_cast<uint8_t>(bytes[i]);
    samples.push_back(static_cast<float>(static_cast<int16_t>(low | static_cast<uint8_t>(bytes[i + 1]) << 8)) / 32768);
  }
  return samples;
}

Sound mixed(Sound one, const Sound& other, float part) {
  for (size_t i = 0; i < one.size(); ++i) one[i] += part * other[i % other.size()];
  return one;
}

/// Sound as on an 8 kHz line: nothing above 3.4 kHz or below 300 Hz, by two crude filters run twice.
Sound telephone(Sound samples) {
  for (int pass = 0; pass < 4; ++pass) {
    float low = 0, slow = 0;
    for (float& x : samples) {
      low += 0.62F * (x - low);
      slow += 0.03F * (low - slow);
      x = low - slow;
    }
  }
  return samples;
}

std::vector<float> powers(const Sound& samples, int mels = 80) {
  std::vector<float> out(samples.size() / kMelHop * static_cast<size_t>(mels));
  LogMel(mels).power(samples, 0, 0, static_cast<int64_t>(samples.size() / kMelHop), out);
  return out;
}

std::vector<FrameKind> tell(const Sound& samples, int mels = 80) {
  std::vector<float> periods;
  for (size_t i = 0; i < samples.size() / kMelHop; ++i)
    periods.push_back(periodicity(samples, 0, static_cast<int64_t>(i) * kMelHop));
  return classify_frames(powers(samples, mels), mels, periods);
}

double share(const std::vector<FrameKind>& heard, FrameKind least) {
  return static_cast<double>(std::count_if(heard.begin(), heard.end(), [&](auto one) { return one >= least; })) /
         static_cast<double>(heard.size());
}

TEST(Voice, WhatIsSteadyIsNothing) {
  for (const auto& [name, samples] : {std::pair("silence", noise(0)),
                                      {"hiss", noise(1e-4)},
                                      {"noise", noise(0.1)},
                                      {"hum", sound([](double t) { return 0.1 * sine(50, t) + 0.05 * sine(150, t); })},
                                      {"tone", sound([](double t) { return 0.2 * sine(440, t); })}}) {
    EXPECT_LT(share(tell(samples), FrameKind::sound), 0.03) << name;
  }
}

TEST(Voice, NotesBeatsAndTonesAreHeardButNoVoice) {
  for (const auto& [name, samples] :
       {std::pair("chords", chords()),
        {"drums", drums()},
        {"tones", sound([](double t) { return 0.2 * sine(300 + 200 * std::floor(std::fmod(2 * t, 5)), t); })},
        {"ringing", sound([](double t) { return std::fmod(t, 6) < 2 ? 0.2 * (sine(440, t) + sine(480, t)) : 0; })}}) {
    const auto heard = tell(samples);
    EXPECT_GT(share(heard, FrameKind::sound), 0.2) << name;
    EXPECT_EQ(share(heard, FrameKind::voice), 0) << name;
  }
}

TEST(Voice, SpeechIsVoice) {
  for (const char* name : {"jfk", "universe", "cavern"}) {
    const Sound samples = clip(name);
    ASSERT_FALSE(samples.empty());
    EXPECT_GT(share(tell(samples), FrameKind::voice), 0.55) << name;
    EXPECT_GT(share(tell(samples, 128), FrameKind::voice), 0.55) << name;
    EXPECT_GT(share(tell(telephone(samples)), FrameKind::voice), 0.5) << name;
    EXPECT_GT(share(tell(mixed(samples, noise(0.01), 1)), FrameKind::voice), 0.3) << name;
    EXPECT_GT(share(tell(mixed(samples, chords(), 0.3F)), FrameKind::voice), 0.4) << name;
  }
}

TEST(Voice, OnlyNothingAtAllIsDigitalSilence) {
  EXPECT_TRUE(is_digital_silence(powers(noise(0))));
  EXPECT_FALSE(is_digital_silence(powers(noise(1e-4))));
}

TEST(Voice, NoFramesAreNoFrames) { EXPECT_TRUE(classify_frames({}, 80, {}).empty()); }

}  // namespace
}  // namespace mlxk
