#include "speech/voice_source.h"

#include <algorithm>
#include <cmath>

namespace mlxk {

size_t VoiceSource::Recorded::read(std::span<float> into) {
  const size_t count = source.read(into);
  samples.insert(samples.end(), into.begin(), into.begin() + static_cast<ptrdiff_t>(count));
  return count;
}

size_t VoiceSource::read(std::span<float> into) {
  if (ready_.empty()) {
    const int64_t count = mel_.available(frame_);
    for (int64_t i = frame_; i < frame_ + count; ++i) {
      const int64_t at = std::llround(mel_.time_of(static_cast<double>(i)) * kFramesPerSecond) * kMelHop;
      auto& samples = recorded_.samples;
      const int64_t dropped = std::min<int64_t>(at - recorded_.begin, static_cast<int64_t>(samples.size()));
      samples.erase(samples.begin(), samples.begin() + dropped);
      recorded_.begin += dropped;
      const int64_t own = std::min<int64_t>(kMelHop, static_cast<int64_t>(samples.size()));
      ready_.insert(ready_.end(), samples.begin(), samples.begin() + own);
    }
    frame_ += count;
  }
  const size_t given = std::min(into.size(), ready_.size());
  std::copy_n(ready_.begin(), given, into.begin());
  ready_.erase(ready_.begin(), ready_.begin() + static_cast<ptrdiff_t>(given));
  return given;
}

}  // namespace mlxk
