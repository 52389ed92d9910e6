#include "speech/mel_stream.h"

#include <algorithm>

namespace mlxk {

namespace {

constexpr int64_t kHalfWindow = kPeriodReach;  // samples that a frame sees on either side
constexpr int64_t kPiece = 16000 * 8;          // samples read at a time
constexpr int64_t kKeptFrames = 100 * 60 * 5;  // a recording up to this length is kept between its two passes
constexpr int64_t kMargin = 100;               // frames that are kept on either side of a voice
constexpr int64_t kLongPause = 500;            // a longer cut separates windows
constexpr int64_t kAhead = 250;                // later frames that determine a frame's kind
constexpr int64_t kBehind = 3000;              // earlier frames that do

}  // namespace

MelStream::MelStream(SampleSource& source, int mels, int window_frames, bool only_voice)
    : source_(source), mel_(mels), window_(window_frames), only_voice_(only_voice) {
  if (!source_.rewind()) return;
  read_until(kKeptFrames);
  if (ended_) return;
  scanning_ = true;
  powers_.clear();
  periods_.clear();
  first_ = next_ = recorded_;
  while (!ended_) {
    forget(next_);
    read_until(next_ + 1);
  }
  peak_known_ = true;
  scanning_ = false;
  restart();
  source_.rewind();
}

void MelStream::restart() {
  ended_ = false;
  samples_read_ = samples_begin_ = first_ = next_ = new_first_ = recorded_ = chosen_ = 0;
  for (auto* one : {&samples_, &powers_, &periods_, &new_powers_, &new_periods_}) one->clear();
  pieces_.clear();
}

void MelStream::read_until(int64_t frame) {
  while (!ended_ && next_ < frame) {
    const size_t before = samples_.size();
    samples_.resize(before + kPiece);
    size_t got = 0;
    while (got < static_cast<size_t>(kPiece)) {
      const size_t more = source_.read(std::span(samples_).subspan(before + got));
      if (more == 0) {
        ended_ = true;
        break;
      }
      got += more;
    }
    samples_.resize(before + got);
    samples_read_ += static_cast<int64_t>(got);
    // A frame depends on the samples after it; at the end those are silence.
    take(ended_ ? samples_read_ / kMelHop : std::max(recorded_, (samples_read_ - kHalfWindow) / kMelHop));
    const int64_t keep = std::max<int64_t>(samples_begin_, recorded_ * kMelHop - kHalfWindow);
    samples_.erase(samples_.begin(),
                   samples_.begin() + std::min<int64_t>(keep - samples_begin_, static_cast<int64_t>(samples_.size())));
    samples_begin_ = keep;
  }
}

/// The features of the recording's frames [recorded_, until).
void MelStream::take(int64_t until) {
  const int64_t count = until - recorded_;
  const bool choosing = only_voice_ && !scanning_;
  auto& powers = choosing ? new_powers_ : powers_;
  auto& periods = choosing ? new_periods_ : periods_;
  if (count > 0) {
    const size_t at = powers.size();
    powers.resize(at + static_cast<size_t>(count * mel_.mels()));
    const auto fresh = std::span(powers).subspan(at);
    mel_.power(samples_, samples_begin_, recorded_, count, fresh);
    if (!peak_known_) peak_ = std::max(peak_, *std::max_element(fresh.begin(), fresh.end()));
    for (int64_t i = recorded_; i < until; ++i) {
      periods.push_back(scanning_ ? 0 : periodicity(samples_, samples_begin_, i * kMelHop));
    }
    recorded_ = until;
    if (!choosing) next_ = until;
  }
  if (choosing) choose();
}

/// Takes over the new frames that are near a voice.
void MelStream::choose() {
  const int64_t until = ended_ ? recorded_ : recorded_ - kAhead;
  if (until <= chosen_) return;
  const auto heard = classify_frames(new_powers_, mel_.mels(), new_periods_);
  const auto is_voice = [&](int64_t frame) {
    return heard[static_cast<size_t>(frame - new_first_)] == FrameKind::voice;
  };
  int64_t last = new_first_ - kMargin - 1,
          next = chosen_;  // the nearest voice at or before a frame, and at or after it
  for (int64_t i = std::max(new_first_, chosen_ - kMargin); i < chosen_; ++i) last = is_voice(i) ? i : last;
  for (; chosen_ < until; ++chosen_) {
    next = std::max(next, chosen_);
    while (next < recorded_ && !is_voice(next)) ++next;
    if (next == chosen_) last = chosen_;
    if (chosen_ - last > kMargin && (next == recorded_ || next - chosen_ > kMargin)) continue;
    if (pieces_.empty() || pieces_.back().left_out() != chosen_ - next_) pieces_.push_back({next_, chosen_});
    const int64_t at = chosen_ - new_first_;
    const auto frame = new_powers_.begin() + at * mel_.mels();
    powers_.insert(powers_.end(), frame, frame + mel_.mels());
    periods_.push_back(new_periods_[static_cast<size_t>(at)]);
    ++next_;
  }
  const int64_t keep = std::max(new_first_, chosen_ - kBehind);
  new_powers_.erase(new_powers_.begin(), new_powers_.begin() + (keep - new_first_) * mel_.mels());
  new_periods_.erase(new_periods_.begin(), new_periods_.begin() + (keep - new_first_));
  new_first_ = keep;
}

void MelStream::forget(int64_t frame) {
  const int64_t until = std::clamp(frame, first_, next_);
  powers_.erase(powers_.begin(), powers_.begin() + (until - first_) * mel_.mels());
  periods_.erase(periods_.begin(), periods_.begin() + (until - first_));
  first_ = until;
}

int64_t MelStream::available(int64_t first) {
  read_until(first + window_);
  while (first > next_ && !ended_) {
    forget(next_);
    read_until(std::min(first + window_, next_ + window_));
  }
  forget(first);
  int64_t last = next_;
  for (size_t i = 1; i < pieces_.size(); ++i) {
    if (pieces_[i].frame <= first || pieces_[i].left_out() - pieces_[i - 1].left_out() < kLongPause) continue;
    last = std::min(last, pieces_[i].frame);
    break;
  }
  return std::clamp<int64_t>(last - first, 0, window_);
}

std::span<const float> MelStream::powers_of(int64_t first, int64_t count) const {
  const auto mels = static_cast<size_t>(mel_.mels());
  return std::span(powers_).subspan(static_cast<size_t>(first - first_) * mels, static_cast<size_t>(count) * mels);
}

std::vector<float> MelStream::features(int64_t first, int64_t count) const {
  std::vector<float> out(static_cast<size_t>(window_ * mel_.mels()));
  const auto powers = powers_of(first, count);
  std::copy(powers.begin(), powers.end(), out.begin());
  normalise_mel(std::span(out).first(powers.size()), peak_);
  return out;
}

std::vector<FrameKind> MelStream::frame_kinds(int64_t first, int64_t count) const {
  const auto periods = std::span(periods_).subspan(static_cast<size_t>(first - first_), static_cast<size_t>(count));
  return classify_frames(powers_of(first, count), mel_.mels(), periods);
}

bool MelStream::is_silence(int64_t first, int64_t count) const { return is_digital_silence(powers_of(first, count)); }

double MelStream::time_of(double frame, bool end) const {
  const auto after = std::partition_point(pieces_.begin(), pieces_.end(), [&](const Piece& piece) {
    return end ? static_cast<double>(piece.frame) < frame : static_cast<double>(piece.frame) <= frame;
  });
  const int64_t left_out = after == pieces_.begin() ? 0 : std::prev(after)->left_out();
  return (frame + static_cast<double>(left_out)) / kFramesPerSecond;
}

}  // namespace mlxk
