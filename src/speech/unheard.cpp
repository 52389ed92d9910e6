#include "speech/unheard.h"

#include <algorithm>
#include <cmath>

#include "media/mel.h"

namespace mlxk {

namespace {

constexpr int64_t kBeside = 50;       // frames by which a segment's times may be wrong
constexpr int64_t kUncovered = 50;    // frames of voice that may have no text
constexpr int64_t kHeardAtLeast = 5;  // fewer audible frames are a click

// The model's confidence in real speech; measured on speech in noise and on noises.
constexpr float kNoSpeechInSilence = 0.3F, kNoSpeechInSound = 0.6F;
constexpr double kGuessInSilence = -0.5, kGuessInSound = -1.0;

int64_t count_of(std::span<const FrameKind> heard, FrameKind least) {
  return std::count_if(heard.begin(), heard.end(), [&](FrameKind one) { return one >= least; });
}

}  // namespace

bool is_invented(const SpeechText& text, std::span<const FrameKind> heard) {
  if (heard.empty() || count_of(heard, FrameKind::voice) > 0) return false;
  const bool silent = count_of(heard, FrameKind::sound) < kHeardAtLeast;
  return text.no_speech > (silent ? kNoSpeechInSilence : kNoSpeechInSound) ||
         text.mean_logprob() < (silent ? kGuessInSilence : kGuessInSound);
}

std::vector<bool> unheard_segments(std::span<const SpeechSegment> segments, std::span<const FrameKind> heard,
                                   int64_t begin, int64_t end) {
  const auto count = static_cast<int64_t>(heard.size());
  const auto span_of = [&](const SpeechSegment& segment) {
    const auto first = static_cast<int64_t>(std::floor(segment.start * kFramesPerSecond)) - begin - kBeside;
    const auto last = static_cast<int64_t>(std::ceil(segment.end * kFramesPerSecond)) - begin + kBeside;
    const int64_t from = std::clamp<int64_t>(first, 0, count);
    return std::pair(from, std::clamp<int64_t>(last, from, count));
  };
  std::vector<bool> unheard, covered(heard.size());
  for (const auto& segment : segments) {
    const auto [from, to] = span_of(segment);
    const auto part = heard.subspan(static_cast<size_t>(from), static_cast<size_t>(to - from));
    unheard.push_back(count_of(part, FrameKind::sound) < kHeardAtLeast);
    if (!unheard.back()) std::fill(covered.begin() + from, covered.begin() + to, true);
  }
  int64_t uncovered = 0;
  for (int64_t i = 0; i < std::min(end - begin, count); ++i) {
    uncovered += heard[static_cast<size_t>(i)] == FrameKind::voice && !covered[static_cast<size_t>(i)] ? 1 : 0;
  }
  if (uncovered > kUncovered) unheard.assign(segments.size(), false);
  return unheard;
}

}  // namespace mlxk
