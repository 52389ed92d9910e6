#include "speech/turns.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "base/testing/test_paths.h"

namespace mlxk {
namespace {

using Sound = std::vector<float>;

/// "A man said to the universe: Sir, I exist." 4.65 s, spoken from 0.4 to 4.2 s.
Sound universe() {
  std::ifstream file(std::filesystem::path(test_tree::kSourceDir) / "tests/data/speech/universe.wav", std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  Sound samples;
  for (size_t i = 44; i + 1 < bytes.size(); i += 2) {
    const auto low = static_cast<uint8_t>(bytes[i]), high = static_cast<uint8_t>(bytes[i + 1]);
    samples.push_back(static_cast<float>(static_cast<int16_t>(high << 8 | low)) / 32768);
  }
  return samples;
}

Sound noise(double seconds, double level = 1e-3) {
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  Sound samples(static_cast<size_t>(seconds * kSpeechRate));
  for (float& one : samples) one = static_cast<float>(level * normal(random));
  return samples;
}

Sound joined(std::initializer_list<Sound> parts) {
  Sound all;
  for (const Sound& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

std::vector<TurnChange> turns_in(const Sound& sound, TurnDetector detector, size_t piece = 1'600) {
  std::vector<TurnChange> changes;
  for (size_t at = 0; at < sound.size(); at += piece) {
    detector.take(std::span(sound).subspan(at, std::min(piece, sound.size() - at)),
                  [&](const TurnChange& change) { changes.push_back(change); });
  }
  return changes;
}

double seconds(const TurnChange& change) { return static_cast<double>(change.at) / kSpeechRate; }

TEST(Turns, EachSentenceIsOne) {
  const Sound sentence = universe();
  const Sound sound = joined({noise(2), sentence, noise(3), sentence, noise(2)});
  const double length = static_cast<double>(sentence.size()) / kSpeechRate;
  const auto changes = turns_in(sound, TurnDetector({.silence_ms = 1'000}));
  ASSERT_EQ(changes.size(), 4U);
  for (size_t i = 0; i < changes.size(); ++i) {
    EXPECT_EQ(changes[i].begins, i % 2 == 0);
    const double at = seconds(changes[i]) - (i < 2 ? 2 : 5 + length);
    if (changes[i].begins) {
      EXPECT_GT(at, -1);
      EXPECT_LT(at, 0.8);
    } else {
      EXPECT_GT(at, length - 0.6);
      EXPECT_LT(at, length + 1.5);
    }
  }
  // The pieces in which sound arrives change nothing.
  const auto again = turns_in(sound, TurnDetector({.silence_ms = 1'000}), 50'001);
  ASSERT_EQ(again.size(), changes.size());
  for (size_t i = 0; i < again.size(); ++i) EXPECT_EQ(again[i].at, changes[i].at);
}

TEST(Turns, SilenceAndNoiseAreNone) {
  EXPECT_TRUE(turns_in(Sound(16'000 * 5), TurnDetector()).empty());
  EXPECT_TRUE(turns_in(noise(5, 0.1), TurnDetector()).empty());
}

TEST(Turns, ARestartEndsTheTurnInProgress) {
  const Sound sentence = universe();
  TurnDetector detector;
  std::vector<TurnChange> changes;
  const auto note = [&](const TurnChange& change) { changes.push_back(change); };
  detector.take(std::span(sentence).first(32'000), note);
  ASSERT_TRUE(detector.speaks());
  EXPECT_GT(detector.voice_end(), 16'000);
  detector.restart();
  EXPECT_FALSE(detector.speaks());
  detector.take(std::span(sentence).subspan(32'000), note);
  ASSERT_GE(changes.size(), 2U);
  EXPECT_TRUE(changes[1].begins);
  EXPECT_GE(changes[1].at, 32'000);
}

}  // namespace
}  // namespace mlxk
