#include "media/raw_sound.h"

#include <array>
#include <cstdint>
#include <optional>
#include <utility>

#include "media/mel.h"
#include "rust_handle.h"

namespace mlxk {

namespace {

constexpr float kFull = 32768;

using Resampler = RustPtr<mlxk_resampler, mlxk_resampler_free>;

Resampler open_resampler(int rate, int target) {
  mlxk_resampler* made = nullptr;
  RustText error;
  const int status =
      mlxk_resampler_open(static_cast<uint32_t>(rate), static_cast<uint32_t>(target), &made, error.out());
  Resampler resampler(made);
  check_rust(status, error, ErrorKind::invalid, "the sound");
  return resampler;
}

void fetch(const Resampler& resampler, size_t ready, std::vector<float>& out) {
  const size_t before = out.size();
  out.resize(before + ready);
  if (ready > 0) mlxk_resampler_fetch(resampler.get(), out.data() + before);
}

void push_into(const Resampler& resampler, std::span<const float> samples, std::vector<float>& out) {
  size_t ready = 0;
  RustText error;
  check_rust(mlxk_resampler_push(resampler.get(), samples.data(), samples.size(), &ready, error.out()), error,
             ErrorKind::internal, "the sound");
  fetch(resampler, ready, out);
}

void finish_into(const Resampler& resampler, std::vector<float>& out) {
  size_t ready = 0;
  RustText error;
  check_rust(mlxk_resampler_finish(resampler.get(), &ready, error.out()), error, ErrorKind::internal, "the sound");
  fetch(resampler, ready, out);
}

/// ITU-T G.711: the value of each byte, as 16-bit samples.
int from_ulaw(uint8_t byte) {
  byte = static_cast<uint8_t>(~byte);
  const int size = (((byte & 0x0F) << 3) + 0x84) << ((byte & 0x70) >> 4);
  return (byte & 0x80) != 0 ? 0x84 - size : size - 0x84;
}

int from_alaw(uint8_t byte) {
  byte ^= 0x55;
  const int step = (byte & 0x70) >> 4;
  int size = ((byte & 0x0F) << 4) + (step == 0 ? 8 : 0x108);
  if (step > 1) size <<= step - 1;
  return (byte & 0x80) != 0 ? size : -size;
}

std::array<float, 256> table_of(int (*decode)(uint8_t)) {
  std::array<float, 256> table{};
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(decode(static_cast<uint8_t>(i))) / kFull;
  return table;
}

}  // namespace

struct RawSound::State {
  State(RawFormat form, int hertz) : format(form), rate(hertz) { open(); }

  void open() {
    resampler = open_resampler(rate, kSpeechRate);
    half.reset();
  }

  void append(std::string_view bytes) {
    static const auto ulaw = table_of(from_ulaw), alaw = table_of(from_alaw);
    decoded.clear();
    if (format != RawFormat::s16le) {
      const auto& table = format == RawFormat::ulaw ? ulaw : alaw;
      for (const char c : bytes) decoded.push_back(table[static_cast<uint8_t>(c)]);
      return;
    }
    for (const char c : bytes) {
      const auto byte = static_cast<uint8_t>(c);
      if (half) {
        decoded.push_back(static_cast<float>(static_cast<int16_t>(byte << 8 | *half)) / kFull);
        half.reset();
      } else {
        half = byte;
      }
    }
  }

  RawFormat format;
  int rate;
  Resampler resampler;
  std::optional<uint8_t> half;  // the first byte of a sample
  std::vector<float> decoded;
};

RawSound::RawSound(RawFormat format, int rate) : state_(std::make_unique<State>(format, rate)) {}
RawSound::~RawSound() = default;
RawSound::RawSound(RawSound&&) noexcept = default;
RawSound& RawSound::operator=(RawSound&&) noexcept = default;

void RawSound::push(std::string_view bytes, std::vector<float>& out) {
  state_->append(bytes);
  push_into(state_->resampler, state_->decoded, out);
}

void RawSound::finish(std::vector<float>& out) {
  finish_into(state_->resampler, out);
  state_->open();
}

std::vector<float> resampled(std::span<const float> samples, int rate, int target) {
  const Resampler resampler = open_resampler(rate, target);
  std::vector<float> out;
  push_into(resampler, samples, out);
  finish_into(resampler, out);
  return out;
}

}  // namespace mlxk
