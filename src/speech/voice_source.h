#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "media/sample_source.h"
#include "speech/mel_stream.h"

namespace mlxk {

/// The parts of a sound in which somebody speaks, with a margin of a second, one after the other. One thread at a time.
class VoiceSource : public SampleSource {
 public:
  /// `source` must outlive this object.
  explicit VoiceSource(SampleSource& source) : recorded_(source), mel_(recorded_, kMels, kFrames, true) {}
  size_t read(std::span<float> into) override;
  /// The time in the recording of `seconds` of this sound; with `end`, of the end of what precedes it.
  double time_of(double seconds, bool end) const { return mel_.time_of(seconds * kFramesPerSecond, end); }

 private:
  static constexpr int kMels = 80, kFrames = 3000;

  /// Keeps what it reads.
  struct Recorded : SampleSource {
    explicit Recorded(SampleSource& source) : source(source) {}
    size_t read(std::span<float> into) override;

    SampleSource& source;
    std::deque<float> samples;  // from `begin` on
    int64_t begin = 0;
  };

  Recorded recorded_;
  MelStream mel_;
  std::vector<float> ready_;
  int64_t frame_ = 0;  // the next of the voice
};

}  // namespace mlxk
