#include "media/audio.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <limits>
#include <numbers>

#include "base/error.h"
#include "base/testing/test_paths.h"
#include "media/testing/pipe.h"

namespace mlxk {
namespace {

using ::testing::HasSubstr;
using Bytes = std::vector<uint8_t>;

void put(Bytes& out, uint64_t value, int size) {
  for (int i = 0; i < size; ++i) out.push_back(static_cast<uint8_t>(value >> 8 * i));
}

void put(Bytes& out, const char* text) { out.insert(out.end(), text, text + std::strlen(text)); }

struct Wave {
  int rate = 16000, channels = 1, bits = 16;
  bool floats = false;
  uint32_t extra = 0;  // bytes of data that the header claims beyond the real ones
  Bytes data;

  Bytes file() const {
    Bytes out;
    const auto size = static_cast<uint32_t>(data.size()) + extra;
    put(out, "RIFF");
    put(out, std::max(size, size + 36), 4);
    put(out, "WAVEfmt ");
    put(out, 16, 4);
    put(out, floats ? 3 : 1, 2);
    put(out, static_cast<uint64_t>(channels), 2);
    put(out, static_cast<uint64_t>(rate), 4);
    put(out, static_cast<uint64_t>(rate) * static_cast<uint64_t>(channels * bits / 8), 4);
    put(out, static_cast<uint64_t>(channels * bits / 8), 2);
    put(out, static_cast<uint64_t>(bits), 2);
    put(out, "data");
    put(out, size, 4);
    out.insert(out.end(), data.begin(), data.end());
    return out;
  }

  void add(double value) {
    if (floats) {
      const auto narrow = static_cast<float>(value);
      uint32_t pattern;
      std::memcpy(&pattern, &narrow, 4);
      put(data, pattern, 4);
    } else if (bits == 8) {
      put(data, static_cast<uint64_t>(std::lround(value * 127) + 128), 1);
    } else {
      put(data, static_cast<uint64_t>(std::llround(value * (std::ldexp(1.0, bits - 1) - 1))), bits / 8);
    }
  }
  /// Half scale, in every channel.
  void add_tone(double hertz, double seconds) {
    for (int i = 0; i < static_cast<int>(seconds * rate); ++i) {
      for (int c = 0; c < channels; ++c) add(0.5 * std::sin(2 * std::numbers::pi * hertz * i / rate));
    }
  }
};

std::vector<float> drain(AudioSource& source) {
  std::vector<float> all, block(777);
  while (const size_t got = source.read(block))
    all.insert(all.end(), block.begin(), block.begin() + static_cast<int64_t>(got));
  return all;
}

std::vector<float> decode(const Bytes& bytes) {
  AudioSource source(memory_bytes(bytes), "clip");
  return drain(source);
}

std::vector<float> decode_pipe(const Bytes& bytes, uint64_t limit = kAudioBytes) {
  AudioSource source(std::make_unique<testing::Pipe>(bytes, 1000), "clip", limit);
  return drain(source);
}

/// The kind and message of the Error that `work` throws.
std::string refusal(const std::function<void()>& work, ErrorKind kind = ErrorKind::invalid) {
  try {
    work();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  return "none";
}

/// The largest difference from the tone, without `margin` samples at either end.
double off_tone(const std::vector<float>& samples, double hertz, size_t margin) {
  double worst = 0;
  for (size_t i = margin; i + margin < samples.size(); ++i) {
    const double wanted = 0.5 * std::sin(2 * std::numbers::pi * hertz * static_cast<double>(i) / 16000);
    worst = std::max(worst, std::abs(samples[i] - wanted));
  }
  return worst;
}

TEST(Audio, ReadsEveryWidthOfWave) {
  for (const int bits : {8, 16, 24, 32}) {
    Wave wave{.bits = bits};
    wave.add_tone(440, 0.5);
    const auto samples = decode(wave.file());
    ASSERT_EQ(samples.size(), 8000U) << bits;
    EXPECT_LT(off_tone(samples, 440, 0), bits == 8 ? 0.009 : 1e-4) << bits;
  }
  Wave floats{.bits = 32, .floats = true};
  floats.add_tone(440, 0.5);
  EXPECT_LT(off_tone(decode(floats.file()), 440, 0), 1e-6);
}

TEST(Audio, MixesChannelsToTheirMean) {
  Wave wave{.channels = 2};
  for (int i = 0; i < 100; ++i) {
    wave.add(0.5);
    wave.add(-0.25);
  }
  const auto samples = decode(wave.file());
  ASSERT_EQ(samples.size(), 100U);
  EXPECT_NEAR(samples[50], 0.125, 1e-4);
}

TEST(Audio, ResamplesEveryRateInPlaceAndInLength) {
  for (const int rate : {8000, 11025, 22050, 32000, 44100, 48000, 96000, 12345}) {
    Wave wave{.rate = rate};
    wave.add_tone(1000, 1);
    const auto samples = decode(wave.file());
    EXPECT_EQ(samples.size(), 16000U) << rate;
    EXPECT_LT(off_tone(samples, 1000, 2000), 2e-3) << rate;
  }
}

TEST(Audio, LeavesNothingOfWhatSixteenKilohertzCannotHold) {
  Wave wave{.rate = 44100};
  wave.add_tone(11000, 1);
  const auto samples = decode(wave.file());
  for (size_t i = 2000; i + 2000 < samples.size(); ++i) ASSERT_LT(std::abs(samples[i]), 1e-4);
}

TEST(Audio, PipeGivesWhatTheFileGives) {
  Wave wave{.rate = 44100, .channels = 2};
  wave.add_tone(300, 0.7);
  EXPECT_EQ(decode_pipe(wave.file()), decode(wave.file()));
}

TEST(Audio, RewindsAFileAndNotAPipe) {
  Wave wave{.rate = 22050};
  wave.add_tone(300, 0.4);
  const Bytes bytes = wave.file();
  AudioSource source(memory_bytes(bytes), "clip");
  EXPECT_NEAR(source.seconds(), 0.4, 1e-9);
  const auto first = drain(source);
  ASSERT_TRUE(source.rewind());
  EXPECT_EQ(drain(source), first);
  AudioSource pipe(std::make_unique<testing::Pipe>(bytes, 1000), "clip");
  EXPECT_FALSE(pipe.rewind());
}

TEST(Audio, RefusesFilesWithoutAudio) {
  EXPECT_THAT(refusal([] { decode({}); }), HasSubstr("[clip] the file is empty"));
  EXPECT_THAT(refusal([] { decode_pipe({}); }), HasSubstr("[clip] "));
  Bytes noise(100'000);
  uint32_t state = 1;
  for (auto& byte : noise) byte = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  EXPECT_THAT(refusal([&] { decode(noise); }), HasSubstr("[clip] "));
  Bytes text(5000, 'a');
  EXPECT_THAT(refusal([&] { decode(text); }), HasSubstr("unknown audio format"));
  EXPECT_THAT(refusal([] { decode(Wave{}.file()); }), HasSubstr("it contains no audio"));
}

TEST(Audio, RefusesAHeaderThatLies) {
  Wave wave{.extra = 1000};
  wave.add_tone(300, 0.5);
  EXPECT_THAT(refusal([&] { decode(wave.file()); }), HasSubstr("cut off after 0.50 s of 0.53 s"));
  EXPECT_THAT(refusal([&] { decode_pipe(wave.file()); }), HasSubstr("cut off"));
  for (const int rate : {0, 3, 999, 2'000'000'000}) {
    Wave strange{.rate = rate};
    strange.data.resize(4000);
    EXPECT_NE(refusal([&] { decode(strange.file()); }), "none") << rate;
  }
  Wave none{.channels = 0};
  none.data.resize(4000);
  EXPECT_NE(refusal([&] { decode(none.file()); }), "none");
}

TEST(Audio, RefusesSamplesThatAreNoNumbers) {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Wave wave{.bits = 32, .floats = true};
    wave.add_tone(300, 0.1);
    wave.add(bad);
    EXPECT_THAT(refusal([&] { decode(wave.file()); }), HasSubstr("[clip] sample 1600 is "));
  }
}

TEST(Audio, KeepsToItsLimit) {
  Wave wave;
  wave.add_tone(300, 1);
  const Bytes bytes = wave.file();
  EXPECT_EQ(refusal([&] { AudioSource(memory_bytes(bytes), "clip", 1000); }), "Audio file too large (>0MB): clip");
  EXPECT_EQ(refusal([&] { decode_pipe(bytes, 20'000); }), "Audio file too large (>0MB): clip");
  EXPECT_EQ(decode_pipe(bytes, bytes.size()).size(), 16000U);
}

Bytes asset(const std::string& name) {
  std::ifstream file(std::string(test_tree::kTestData) + "/audio/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Audio, SaysWhatIsCutOff) {
  for (const char* name : {"tone.flac", "tone.ogg", "tone.opus", "tone.webm", "tone.m4a"}) {
    Bytes bytes = asset(name);
    bytes.resize(bytes.size() / 2);
    EXPECT_THAT(refusal([&] { decode(bytes); }), HasSubstr("cut off")) << name;
  }
}

// 1,024 samples at 48 kHz, by its edit list.
TEST(Audio, LeavesOutWhatAnEncoderPutBeforeAnMp4) {
  const Bytes bytes = asset("tone.m4a");
  Bytes without = bytes;
  const char list[] = {'e', 'l', 's', 't'};
  const auto at = std::search(without.begin(), without.end(), std::begin(list), std::end(list));
  ASSERT_NE(at, without.end());
  *at = 'x';
  EXPECT_NEAR(static_cast<double>(decode(without).size() - decode(bytes).size()), 1024 / 3.0, 2);
  EXPECT_EQ(decode_pipe(bytes).size(), decode(bytes).size());
  // Ten seconds of a truncated recording: they are audio.
  Bytes late = bytes;
  const auto time = late.begin() + (at - without.begin()) + 16;
  const uint8_t ten[] = {0, 0x07, 0x53, 0x00};
  std::copy(std::begin(ten), std::end(ten), time);
  EXPECT_EQ(decode(late).size(), decode(without).size());
}

// The size of the following data, unknown while a browser records.
TEST(Audio, ReadsAWebmWithoutSizes) {
  Bytes bytes = asset("tone.webm");
  const uint8_t segment[] = {0x18, 0x53, 0x80, 0x67};
  const auto at = std::search(bytes.begin(), bytes.end(), std::begin(segment), std::end(segment));
  ASSERT_LT(at + 12, bytes.end());
  ASSERT_EQ(at[4], 1);  // eight bytes of size
  std::fill(at + 5, at + 12, 0xFF);
  EXPECT_NEAR(static_cast<double>(decode(bytes).size()), 8000, 300);  // Opus pads a packet with this
}

// An AudioSpecificConfig of HE-AAC in place of LC.
TEST(Audio, RefusesHeAacByName) {
  Bytes bytes = asset("tone.m4a");
  const uint8_t lc[] = {0x05, 0x80, 0x80, 0x80, 0x05, 0x11, 0x88};
  const auto at = std::search(bytes.begin(), bytes.end(), std::begin(lc), std::end(lc));
  ASSERT_NE(at, bytes.end());
  at[5] = 5 << 3 | 1;
  EXPECT_EQ(refusal([&] { decode(bytes); }, ErrorKind::unsupported), "[clip] HE-AAC is not supported");
  at[5] = 29 << 3 | 1;
  EXPECT_EQ(refusal([&] { decode(bytes); }, ErrorKind::unsupported), "[clip] HE-AAC v2 is not supported");
}

// Half a second of 440 Hz, of each codec (tools/make_audio_samples.py).
TEST(Audio, ReadsEveryCodec) {
  for (const char* name : {"tone.flac", "tone.mp3", "tone.ogg", "tone.opus", "tone.webm", "tone.m4a", "tone.aac"}) {
    const Bytes bytes = asset(name);
    ASSERT_FALSE(bytes.empty()) << name;
    const auto samples = decode(bytes);
    EXPECT_NEAR(static_cast<double>(samples.size()), 8000, 1200) << name;
    double power = 0;
    for (size_t i = 3000; i < 5000; ++i) power += samples[i] * samples[i];
    EXPECT_NEAR(std::sqrt(power / 2000), 0.5 / std::numbers::sqrt2, 0.02) << name;
    EXPECT_EQ(decode_pipe(bytes).size(), samples.size()) << name;
    for (size_t size = 0; size < bytes.size(); size += 1 + bytes.size() / 97) {
      refusal([&] { decode(Bytes(bytes.begin(), bytes.begin() + static_cast<int64_t>(size))); });
    }
  }
}

}  // namespace
}  // namespace mlxk
