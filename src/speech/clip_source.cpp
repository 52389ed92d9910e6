#include "speech/clip_source.h"

#include <algorithm>

#include "media/mel.h"

namespace mlxk {

void ClipSource::begin(const FrameClip& clip) {
  constexpr int64_t kMaxFrames = int64_t{1} << 50;  // of a recording
  const int64_t begin = clip.begin * kMelHop;
  std::vector<float> skipped(kSpeechRate);
  while (at_ < begin) {
    const auto most = static_cast<size_t>(std::min<int64_t>(kSpeechRate, begin - at_));
    const size_t got = source_.read(std::span(skipped).first(most));
    if (got == 0) break;
    at_ += static_cast<int64_t>(got);
  }
  end_ = std::min(clip.end, kMaxFrames) * kMelHop;
}

size_t ClipSource::read(std::span<float> into) {
  if (at_ >= end_) return 0;
  const size_t most = std::min(into.size(), static_cast<size_t>(end_ - at_));
  const size_t got = source_.read(into.first(most));
  at_ += static_cast<int64_t>(got);
  return got;
}

double ClipSource::seconds() const { return static_cast<double>(at_) / kSpeechRate; }

bool read_beyond(SampleSource& sound, std::vector<float>& samples, size_t count) {
  while (samples.size() <= count) {
    const size_t before = samples.size();
    samples.resize(before + kSpeechRate);
    const size_t got = sound.read(std::span(samples).subspan(before));
    samples.resize(before + got);
    if (got == 0) return false;
  }
  return true;
}

}  // namespace mlxk
