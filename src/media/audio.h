#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <string>

#include "media/byte_source.h"
#include "media/sample_source.h"

namespace mlxk {

constexpr uint64_t kAudioBytes = uint64_t{50} << 20;  // the longest recording, unless another limit is given

/// A recording in WAV (PCM, float, A-law, µ-law), AIFF, FLAC, MP3, AAC (LC; bare or in MP4), Vorbis or Opus (in Ogg,
/// WebM and Matroska) as mono samples at 16 kHz, decoded while they are read. Memory does not grow with it, except for
/// an MP4 from a pipe: its index may be at the end.
class AudioSource : public SampleSource {
 public:
  /// Reads up to the first samples. Errors name `place`: invalid for more than `limit` bytes, for data that is broken,
  /// truncated or not audio, unsupported for a codec that is not built in. read() throws the same errors.
  AudioSource(std::unique_ptr<ByteSource> bytes, std::string place, uint64_t limit = kAudioBytes);
  ~AudioSource() override;

  size_t read(std::span<float> into) override;
  bool use_rate(int rate) override;
  bool rewind() override;
  /// The length in its header; 0: unknown.
  double seconds() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mlxk
