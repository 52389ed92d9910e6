#pragma once

#include <cstdint>
#include <vector>

#include "media/sample_source.h"
#include "speech/options.h"

namespace mlxk {

/// Limits reading of a source to one clip at a time, and counts the samples read. One thread at a time.
class ClipSource : public SampleSource {
 public:
  /// `source` must outlive this object.
  explicit ClipSource(SampleSource& source) : source_(source) {}
  /// Skips to the start of `clip`, which must not lie before the current position; read() ends where the clip ends.
  void begin(const FrameClip& clip);
  size_t read(std::span<float> into) override;
  /// The position in the source, in seconds.
  double seconds() const;

 private:
  SampleSource& source_;
  int64_t at_ = 0, end_ = 0;
};

/// Appends to `samples` until it holds more than `count`; returns false if the sound ends first.
bool read_beyond(SampleSource& sound, std::vector<float>& samples, size_t count);

}  // namespace mlxk
