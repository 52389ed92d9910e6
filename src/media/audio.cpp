#include "media/audio.h"

#include <fmt/format.h>

#include <climits>
#include <utility>

#include "base/error.h"
#include "media/opus_library.h"
#include "rust_handle.h"

namespace mlxk {

struct AudioSource::State {
  std::unique_ptr<ByteSource> bytes;
  std::string place;
  uint64_t limit = 0;
  uint32_t rate = 0;           // of the samples, if not 16 kHz
  uint64_t received = 0;       // of a pipe
  std::exception_ptr failure;  // of a callback, which must not throw through Rust
  RustPtr<mlxk_audio, mlxk_audio_free> audio;

  void open();
  [[noreturn]] void too_large() const {
    throw Error(ErrorKind::invalid, fmt::format("Audio file too large (>{}MB): {}", limit >> 20, place));
  }
  /// Throws the error of a callback or of Rust.
  void check(int status, const RustText& error) {
    if (failure) std::rethrow_exception(std::exchange(failure, nullptr));
    const std::string text = error.str();
    const std::string_view end = " is not supported";
    const bool unsupported = text.size() > end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
    check_rust(status, error, unsupported ? ErrorKind::unsupported : ErrorKind::invalid, place);
  }
};

namespace {

/// Runs a callback's work and stores its exception.
template <typename Result, typename Work>
Result kept(std::exception_ptr& failure, Result failed, const Work& work) {
  try {
    return work();
  } catch (...) {
    failure = std::current_exception();
    return failed;
  }
}

int decode(void* decoder, const uint8_t* data, size_t size, float* pcm, int frames) {
  if (size > INT_MAX) return -1;
  return opus_library().decode(static_cast<OpusMSDecoder*>(decoder), data, static_cast<int>(size), pcm, frames, 0);
}

void destroy(void* decoder) { opus_library().destroy(static_cast<OpusMSDecoder*>(decoder)); }

}  // namespace

void AudioSource::State::open() {
  mlxk_bytes source{};
  source.context = this;
  source.read = [](void* context, uint8_t* into, size_t size) {
    auto& state = *static_cast<State*>(context);
    return kept<int64_t>(state.failure, -1, [&] {
      const size_t got = state.bytes->read({into, size});
      state.received += got;
      if (!state.bytes->size() && state.received > state.limit) state.too_large();
      return static_cast<int64_t>(got);
    });
  };
  const auto size = bytes->size();
  source.size = size ? static_cast<int64_t>(*size) : -1;
  if (size) {
    source.seek = [](void* context, uint64_t offset) {
      auto& state = *static_cast<State*>(context);
      return kept<int>(state.failure, 1, [&] { return state.bytes->seek(offset) ? 0 : 1; });
    };
  }
  mlxk_opus opus{};
  opus.context = this;
  opus.create = [](void* context, int channels, int streams, int coupled, const uint8_t* mapping) -> void* {
    auto& state = *static_cast<State*>(context);
    return kept<void*>(state.failure, nullptr, [&]() -> void* {
      int error = 0;
      return opus_library().create(48000, channels, streams, coupled, mapping, &error);
    });
  };
  opus.decode = decode;
  opus.destroy = destroy;
  mlxk_audio* opened = nullptr;
  RustText error;
  const int status = mlxk_audio_open(&source, &opus, &opened, error.out());
  audio.reset(opened);
  check(status, error);
  if (rate > 0) mlxk_audio_set_rate(opened, rate);
}

AudioSource::AudioSource(std::unique_ptr<ByteSource> bytes, std::string place, uint64_t limit)
    : state_(std::make_unique<State>()) {
  state_->bytes = std::move(bytes);
  state_->place = std::move(place);
  state_->limit = limit;
  const auto size = state_->bytes->size();
  if (size && *size > limit) state_->too_large();
  if (size && *size == 0) throw Error(ErrorKind::invalid, fmt::format("[{}] the file is empty", state_->place));
  state_->open();
}

AudioSource::~AudioSource() = default;

size_t AudioSource::read(std::span<float> into) {
  size_t got = 0;
  RustText error;
  const int status = mlxk_audio_read(state_->audio.get(), into.data(), into.size(), &got, error.out());
  state_->check(status, error);
  return got;
}

bool AudioSource::use_rate(int rate) {
  state_->rate = static_cast<uint32_t>(rate);
  mlxk_audio_set_rate(state_->audio.get(), state_->rate);
  return true;
}

bool AudioSource::rewind() {
  if (!state_->bytes->size() || !state_->bytes->seek(0)) return false;
  state_->open();
  return true;
}

double AudioSource::seconds() const { return mlxk_audio_seconds(state_->audio.get()); }

}  // namespace mlxk
