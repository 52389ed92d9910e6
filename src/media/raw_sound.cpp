#include "media/raw_sound.h"

#include <array>
#include <cstdint>
#include <optional>
#include <utility>

#include "rust_handle.h"

namespace mlxk {

namespace {

constexpr float kFull = 32768;

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
    mlxk_resampler* made = nullptr;
    RustText error;
    check_rust(mlxk_resampler_open(static_cast<uint32_t>(rate), &made, error.out()), error, ErrorKind::invalid,
               "the sound");
    resampler.reset(made);
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

  void fetch(size_t ready, std::vector<float>& out) const {
    const size_t before = out.size();
    out.resize(before + ready);
    if (ready > 0) mlxk_resampler_fetch(resampler.get(), out.data() + before);
  }

  RawFormat format;
  int rate;
  RustPtr<mlxk_resampler, mlxk_resampler_free> resampler;
  std::optional<uint8_t> half;  // the first byte of a sample
  std::vector<float> decoded;
};

RawSound::RawSound(RawFormat format, int rate) : state_(std::make_unique<State>(format, rate)) {}
RawSound::~RawSound() = default;
RawSound::RawSound(RawSound&&) noexcept = default;
RawSound& RawSound::operator=(RawSound&&) noexcept = default;

void RawSound::push(std::string_view bytes, std::vector<float>& out) {
  state_->append(bytes);
  size_t ready = 0;
  RustText error;
  check_rust(
      mlxk_resampler_push(state_->resampler.get(), state_->decoded.data(), state_->decoded.size(), &ready, error.out()),
      error, ErrorKind::internal, "the sound");
  state_->fetch(ready, out);
}

void RawSound::finish(std::vector<float>& out) {
  size_t ready = 0;
  RustText error;
  check_rust(mlxk_resampler_finish(state_->resampler.get(), &ready, error.out()), error, ErrorKind::internal,
             "the sound");
  state_->fetch(ready, out);
  state_->open();
}

}  // namespace mlxk
