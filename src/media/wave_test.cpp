// WAV as recorders, telephones, studios and streams write it.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "base/error.h"
#include "media/audio.h"
#include "media/testing/pipe.h"

namespace mlxk {
namespace {

using ::testing::HasSubstr;
using Bytes = std::vector<uint8_t>;

/// Numbers and texts one after the other, in either byte order.
struct Writer {
  bool big_endian = false;
  Bytes bytes;

  Writer& number(uint64_t value, int size) {
    for (int i = 0; i < size; ++i) {
      bytes.push_back(static_cast<uint8_t>(value >> 8 * (big_endian ? size - 1 - i : i)));
    }
    return *this;
  }
  Writer& text(std::string_view text) {
    bytes.insert(bytes.end(), text.begin(), text.end());
    return *this;
  }
  Writer& add(const Bytes& more) {
    bytes.insert(bytes.end(), more.begin(), more.end());
    return *this;
  }
  Writer& chunk(std::string_view name, const Bytes& body, bool padded = true) {
    text(name).number(body.size(), 4).add(body);
    if (padded && body.size() % 2 == 1) number(0, 1);
    return *this;
  }
};

struct Recording {
  int tag = 1, channels = 1, rate = 16000, bits = 16;
  int align = 0;              // bytes of a frame; 0: derived from the bits
  std::string form = "RIFF";  // or RIFX, RF64, BW64
  Bytes behind_format;        // the bytes of the format chunk after its first 16
  bool short_format = false;  // 14 bytes, without the bits
  Bytes before, after;        // chunks
  std::optional<uint32_t> riff_size, data_size;

  int frame() const { return align ? align : channels * bits / 8; }

  Bytes file(const Bytes& data) const {
    Writer format{form == "RIFX"}, out{form == "RIFX"};
    format.number(static_cast<uint64_t>(tag), 2).number(static_cast<uint64_t>(channels), 2);
    format.number(static_cast<uint64_t>(rate), 4).number(static_cast<uint64_t>(rate * frame()), 4);
    format.number(static_cast<uint64_t>(frame()), 2);
    if (!short_format) format.number(static_cast<uint64_t>(bits), 2).add(behind_format);
    const auto size = static_cast<uint32_t>(data.size());
    out.text(form).number(riff_size.value_or(size + 36), 4).text("WAVE");
    if (form == "RF64" || form == "BW64") {
      out.text("ds64").number(28, 4).number(size + 72, 8).number(size, 8).number(0, 8).number(0, 4);
    }
    out.chunk("fmt ", format.bytes).add(before);
    out.text("data").number(data_size.value_or(size), 4).add(data).add(after);
    return out.bytes;
  }

  /// WAVEFORMATEXTENSIBLE: `valid` of the bits are used; `more` follows the sub-format.
  void extend(int valid, const Bytes& more = {}, bool ambisonic = false) {
    const Bytes wave = {0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71};
    const Bytes b_format = {0, 0, 0x21, 7, 0xd3, 0x11, 0x86, 0x44, 0xc8, 0xc1, 0xca, 0, 0, 0};
    Writer extension;
    extension.number(22 + more.size(), 2).number(static_cast<uint64_t>(valid), 2).number(4, 4);
    extension.number(static_cast<uint64_t>(tag), 2).add(ambisonic ? b_format : wave).add(more);
    behind_format = extension.bytes;
    tag = 0xfffe;
  }
};

constexpr int kFrames = 4000;
double tone(int i) { return 0.5 * std::sin(0.17 * i); }

/// The tone in integers of `bits`, at the top of `width` bytes, in every channel.
Bytes integers(int bits, int width, int channels = 1, bool big_endian = false) {
  Writer out{big_endian};
  for (int i = 0; i < kFrames; ++i) {
    const auto value = static_cast<uint64_t>(std::llround(tone(i) * std::ldexp(1.0, bits - 1))) << (width * 8 - bits);
    for (int c = 0; c < channels; ++c) out.number(width == 1 ? value + 128 : value, width);
  }
  return out.bytes;
}

template <typename Float, typename Pattern>
Bytes floats(bool big_endian = false) {
  Writer out{big_endian};
  for (int i = 0; i < kFrames; ++i) {
    const auto value = static_cast<Float>(tone(i));
    Pattern pattern;
    std::memcpy(&pattern, &value, sizeof(value));
    out.number(pattern, sizeof(value));
  }
  return out.bytes;
}

std::vector<float> drain(AudioSource&& source) {
  std::vector<float> all, block(500);
  while (const size_t got = source.read(block))
    all.insert(all.end(), block.begin(), block.begin() + static_cast<int64_t>(got));
  return all;
}

std::vector<float> from_file(const Bytes& bytes) { return drain(AudioSource(memory_bytes(bytes), "clip")); }
std::vector<float> from_pipe(const Bytes& bytes) {
  return drain(AudioSource(std::make_unique<testing::Pipe>(bytes, 7), "clip"));
}

void expect_tone(const Bytes& bytes, const std::string& what, double exactness = 1e-4) {
  SCOPED_TRACE(what);
  for (const auto& read : {from_file, from_pipe}) {
    std::vector<float> samples;
    ASSERT_NO_THROW(samples = read(bytes));
    ASSERT_EQ(samples.size(), static_cast<size_t>(kFrames));
    for (int i = 0; i < kFrames; ++i) ASSERT_NEAR(samples[static_cast<size_t>(i)], tone(i), exactness) << i;
  }
}

std::string refusal(const Bytes& bytes, ErrorKind kind = ErrorKind::invalid) {
  try {
    from_file(bytes);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  return "none";
}

TEST(Wave, LengthsThatLie) {
  const Bytes data = integers(16, 2);
  const auto size = static_cast<uint32_t>(data.size());
  const std::pair<std::optional<uint32_t>, std::optional<uint32_t>> rows[] = {{0xFFFFFFFF, 0xFFFFFFFF},
                                                                              {0x7FFFFFFF, 0x7FFFFFFF},
                                                                              {2000000036, 2000000000},
                                                                              {0, 0},
                                                                              {0x7FFFF024, 0x7FFFF000},
                                                                              {36, 0},
                                                                              {0, size},
                                                                              {0xFFFFFFFF, size},
                                                                              {0x40000024, 0x40000000},
                                                                              {0xFFFFFFDB, 0xFFFFFFB7},
                                                                              {8, size},
                                                                              {{}, size + 1}};
  for (const auto& [riff, sound] : rows) {
    Recording wave{.riff_size = riff, .data_size = sound};
    expect_tone(wave.file(data), fmt::format("{:x} {:x}", riff.value_or(1), sound.value_or(1)));
  }
}

TEST(Wave, APlausibleLengthThatIsNotThereIsCutOff) {
  const Bytes data = integers(16, 2);
  Recording wave{.data_size = static_cast<uint32_t>(data.size() + 1000)};
  EXPECT_THAT(refusal(wave.file(data)), HasSubstr("cut off after 0.25 s of 0.28 s"));
  EXPECT_THROW(from_pipe(wave.file(data)), Error);
}

TEST(Wave, WhatStandsBehindTheSoundIsNone) {
  Recording wave{.after = Writer{}.chunk("LIST", Bytes(26, 'x')).chunk("id3 ", Bytes(9, 'y')).bytes};
  expect_tone(wave.file(integers(16, 2)), "chunks behind it");
  wave.after = {0x7f};
  expect_tone(wave.file(integers(16, 2)), "an odd byte");
  wave.after = Bytes(999, 0x41);
  expect_tone(wave.file(integers(16, 2)), "rubbish");
}

TEST(Wave, ChunksBeforeTheSound) {
  Recording wave;
  wave.before = Writer{}.chunk("LIST", Bytes(27, 'x')).chunk("JUNK", Bytes(3, 0)).chunk("bext", Bytes(602, 0)).bytes;
  expect_tone(wave.file(integers(16, 2)), "padded");
  wave.before = Writer{}.chunk("LIST", Bytes(27, 'x'), false).chunk("JUNK", Bytes(3, 0), false).bytes;
  expect_tone(wave.file(integers(16, 2)), "odd chunks without their padding");
  wave.before = Writer{}.chunk("fact", Bytes(4, 1)).bytes;
  expect_tone(wave.file(integers(16, 2)), "fact");
}

TEST(Wave, FormatChunksOfEveryLength) {
  const Bytes data = integers(16, 2);
  expect_tone(Recording{.short_format = true}.file(data), "14 bytes");
  for (const size_t more : {0, 2, 4, 6, 24, 100}) {
    Recording wave{.behind_format = Bytes(more, 0)};
    expect_tone(wave.file(data), fmt::format("{} bytes", 16 + more));
  }
  for (const size_t more : {0, 1, 4, 60}) {
    Recording wave;
    wave.extend(16, Bytes(more, 0));
    expect_tone(wave.file(data), fmt::format("extensible, {} bytes more", more));
  }
  Recording ambisonic;
  ambisonic.extend(16, {}, true);
  expect_tone(ambisonic.file(data), "ambisonic");
  Recording cut{.tag = 0xfffe, .behind_format = {0, 0}};
  expect_tone(cut.file(data), "extensible without a sub-format");
}

TEST(Wave, NumbersOfEveryWidth) {
  for (const auto& [bits, width] : {std::pair{8, 1}, {16, 2}, {24, 3}, {32, 4}, {12, 2}, {20, 3}, {24, 4}}) {
    Recording plain{.bits = bits, .align = width};
    const double exactness = bits == 8 ? 0.01 : bits == 12 ? 1e-3 : 1e-4;
    expect_tone(plain.file(integers(bits, width)), fmt::format("{} in {}", bits, width * 8), exactness);
    Recording wave{.bits = width * 8};
    wave.extend(bits);
    expect_tone(wave.file(integers(bits, width)), fmt::format("{} in {}, extensible", bits, width * 8), exactness);
  }
  expect_tone(Recording{.tag = 3, .bits = 32}.file(floats<float, uint32_t>()), "float");
  expect_tone(Recording{.tag = 3, .bits = 64}.file(floats<double, uint64_t>()), "double");
  Recording extensible{.tag = 3, .bits = 64};
  extensible.extend(64);
  expect_tone(extensible.file(floats<double, uint64_t>()), "double, extensible");
  Recording six{.channels = 6};
  six.extend(16);
  expect_tone(six.file(integers(16, 2, 6)), "six channels");
}

TEST(Wave, OtherForms) {
  expect_tone(Recording{.form = "RIFX"}.file(integers(16, 2, 1, true)), "RIFX");
  expect_tone(Recording{.tag = 3, .bits = 32, .form = "RIFX"}.file(floats<float, uint32_t>(true)), "RIFX, float");
  for (const char* form : {"RF64", "BW64"}) {
    Recording wave{.form = form, .riff_size = 0xFFFFFFFF, .data_size = 0xFFFFFFFF};
    wave.after = Writer{}.chunk("LIST", Bytes(300, 'x')).bytes;
    expect_tone(wave.file(integers(16, 2)), form);
  }
}

// Table values of ITU-T G.711.
TEST(Wave, TelephonesCodes) {
  const std::tuple<int, int, double> rows[] = {{7, 0x00, -32124}, {7, 0x80, 32124},  {7, 0xff, 0},    {7, 0x7f, 0},
                                               {7, 0xf0, 120},    {7, 0x8f, 16764},  {6, 0xd5, 8},    {6, 0x55, -8},
                                               {6, 0xaa, 32256},  {6, 0x2a, -32256}, {6, 0x80, 5504}, {6, 0xc5, 264}};
  for (const auto& [tag, code, value] : rows) {
    const Recording wave{.tag = tag, .bits = 8, .behind_format = {0, 0}};
    const auto samples = from_file(wave.file(Bytes(100, static_cast<uint8_t>(code))));
    ASSERT_EQ(samples.size(), 100U);
    EXPECT_NEAR(samples[50], value / 32768.0, 1e-6) << tag << " " << code;
  }
}

TEST(Wave, WhatIsRefusedIsNamed) {
  const Bytes data(4000, 1);
  const auto kind = ErrorKind::unsupported;
  EXPECT_THAT(refusal(Recording{.tag = 0x11, .bits = 4}.file(data), kind), HasSubstr("IMA ADPCM is not supported"));
  EXPECT_THAT(refusal(Recording{.tag = 0x55}.file(data), kind), HasSubstr("MP3 in WAV is not supported"));
  EXPECT_THAT(refusal(Recording{.tag = 0x1234}.file(data), kind), HasSubstr("format tag 0x1234 is not supported"));
  EXPECT_THAT(refusal(Recording{.channels = 0}.file(data)), HasSubstr("0 channels"));
  EXPECT_THAT(refusal(Recording{.channels = 65535, .bits = 8, .align = 65535}.file(data)), HasSubstr("65535 channels"));
  EXPECT_THAT(refusal(Recording{.tag = 3, .bits = 16}.file(data)), HasSubstr("broken WAV: 16 bits"));
  EXPECT_THAT(refusal(Recording{.bits = 0}.file(data)), HasSubstr("broken WAV: 0 bits"));
  EXPECT_THAT(refusal(Recording{.rate = 0}.file(data)), HasSubstr("sample rate of 0"));
  EXPECT_THAT(refusal(Recording{}.file({})), HasSubstr("it contains no audio"));
  EXPECT_THAT(refusal(Writer{}.text("RIFF").number(4, 4).text("WAVE").bytes),
              HasSubstr("it ends before its format chunk"));
  Bytes many = Writer{}.text("RIFF").number(4, 4).text("WAVE").bytes;
  for (int i = 0; i < 2000; ++i) many = Writer{.bytes = std::move(many)}.chunk("JUNK", {}).bytes;
  EXPECT_THAT(refusal(many), HasSubstr("more than 1000 chunks"));
}

}  // namespace
}  // namespace mlxk
