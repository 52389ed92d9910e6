#pragma once

#include <cstdint>
#include <vector>

#include "media/sample_source.h"
#include "speech/options.h"

namespace mlxk {

/// Counts what is read of a source, and gives the part of one clip. One thread at a time.
class ClipSource : public SampleSource {
 public:
  /// `source` must outlive this object.
  explicit ClipSource(SampleSource& source) : source_(source) {}
  /// Goes on to `clip`, which must not go back.
  void begin(const FrameClip& clip);
  size_t read(std::span<float> into) override;
  /// What was read of the source, in seconds.
  double seconds() const;

 private:
  SampleSource& source_;
  int64_t at_ = 0, end_ = 0;
};

/// Reads until there are more than `count` samples; returns false if the sound ends before.
bool read_beyond(SampleSource& sound, std::vector<float>& samples, size_t count);

}  // namespace mlxk
