#include "speech/turns.h"

#include <algorithm>

#include "media/voice.h"

namespace mlxk {

namespace {

constexpr int kTurnMels = 80;
constexpr int64_t kTurnStep = 10;       // frames between two classifications
constexpr int64_t kTurnHistory = 1000;  // frames classified together
constexpr int64_t kOnset = 20;          // the latest frames, of which a share must be voice for a turn to begin
constexpr int64_t kOnsetGap = 30;       // the longest pause, in frames, inside the beginning of a turn
constexpr int kFrameMs = 10;

}  // namespace

TurnDetector::TurnDetector(const TurnOptions& options) : options_(options), mel_(kTurnMels) {}

void TurnDetector::take(std::span<const float> samples, const std::function<void(const TurnChange&)>& changed) {
  samples_.insert(samples_.end(), samples.begin(), samples.end());
  const auto received = samples_begin_ + static_cast<int64_t>(samples_.size());
  while (next_ + kTurnStep <= (received - kPeriodReach) / kMelHop) {
    const size_t at = powers_.size();
    powers_.resize(at + static_cast<size_t>(kTurnStep * kTurnMels));
    mel_.power(samples_, samples_begin_, next_, kTurnStep, std::span(powers_).subspan(at));
    for (int64_t i = next_; i < next_ + kTurnStep; ++i) {
      periods_.push_back(periodicity(samples_, samples_begin_, i * kMelHop));
    }
    next_ += kTurnStep;
    if (next_ - first_ > kTurnHistory) {
      powers_.erase(powers_.begin(), powers_.begin() + kTurnStep * kTurnMels);
      periods_.erase(periods_.begin(), periods_.begin() + kTurnStep);
      first_ += kTurnStep;
    }
    judge(changed);
  }
  const int64_t keep = std::max(samples_begin_, next_ * kMelHop - kPeriodReach);
  samples_.erase(samples_.begin(), samples_.begin() + (keep - samples_begin_));
  samples_begin_ = keep;
}

void TurnDetector::judge(const std::function<void(const TurnChange&)>& changed) {
  const auto kinds = classify_frames(powers_, kTurnMels, periods_);
  const auto is_voice = [&](int64_t frame) { return kinds[static_cast<size_t>(frame - first_)] == FrameKind::voice; };
  int64_t last = next_;  // the frame after the last voice
  while (last > first_ && !is_voice(last - 1)) --last;
  if (speaks_) {
    last_voice_ = std::max(last_voice_, last);
    if ((next_ - last_voice_) * kFrameMs < options_.silence_ms) return;
    speaks_ = false;
    floor_ = next_;
    changed({false, next_ * kMelHop});
    return;
  }
  const int64_t onset = std::max({first_, floor_, next_ - kOnset});
  int64_t voices = 0;
  for (int64_t i = onset; i < next_; ++i) voices += is_voice(i) ? 1 : 0;
  if (voices == 0 || static_cast<double>(voices) < options_.threshold * kOnset) return;
  int64_t begin = onset;
  for (int64_t i = next_ - 1; i >= std::max(first_, floor_) && begin - i <= kOnsetGap; --i) {
    if (is_voice(i)) begin = std::min(begin, i);
  }
  speaks_ = true;
  last_voice_ = last;
  changed({true, std::max(begin * kMelHop - options_.prefix_ms * (kSpeechRate / 1000), floor_ * kMelHop)});
}

void TurnDetector::restart() {
  speaks_ = false;
  floor_ = (samples_begin_ + static_cast<int64_t>(samples_.size())) / kMelHop;
}

}  // namespace mlxk
