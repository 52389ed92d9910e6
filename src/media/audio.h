#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <string>

#include "media/byte_source.h"
#include "media/sample_source.h"

namespace mlxk {

constexpr uint64_t kAudioBytes = uint64_t{50} << 20;  // a recording may have, unless more is asked for

/// A recording in WAV (PCM, float, A-law, µ-law), AIFF, FLAC, MP3, AAC (LC; bare or in MP4), Vorbis or Opus (in Ogg,
/// WebM and Matroska) as mono samples of 16 kHz, decoded as they are read. Memory does not grow with it, but for an MP4
/// that comes through a pipe: its index may stand at the end.
class AudioSource : public SampleSource {
 public:
  /// Reads as far as the sound. Errors name `place`: invalid for more than `limit` bytes, for what is broken, cut off
  /// or no sound, unsupported for a codec that is not built in. read() throws them too.
  AudioSource(std::unique_ptr<ByteSource> bytes, std::string place, uint64_t limit = kAudioBytes);
  ~AudioSource() override;

  size_t read(std::span<float> into) override;
  bool rewind() override;
  /// As its header says; 0: not known.
  double seconds() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mlxk
