#include "speech/mel_stream.h"

#include <algorithm>

namespace mlxk {

namespace {

constexpr int64_t kHalfWindow = 200;          // samples that a frame sees on either side
constexpr int64_t kPiece = 16000 * 8;         // samples read at a time
constexpr int64_t kKeptFrames = 100 * 60 * 5;  // so long a recording is kept between its two passes

}  // namespace

MelStream::MelStream(SampleSource& source, int mels, int window_frames) : source_(source), mel_(mels), window_(window_frames) {
  if (!source_.rewind()) return;
  read_until(kKeptFrames);
  if (ended_) return;
  while (!ended_) {
    forget(next_);
    read_until(next_ + 1);
  }
  peak_known_ = true;
  restart();
  source_.rewind();
}

void MelStream::restart() {
  ended_ = false;
  samples_read_ = samples_begin_ = first_ = next_ = 0;
  samples_.clear();
  powers_.clear();
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
    // A frame needs what follows it; at the end silence does.
    const int64_t until = ended_ ? samples_read_ / kMelHop : std::max(next_, (samples_read_ - kHalfWindow) / kMelHop);
    const int64_t count = until - next_;
    if (count > 0) {
      const size_t at = powers_.size();
      powers_.resize(at + static_cast<size_t>(count * mel_.mels()));
      const auto fresh = std::span(powers_).subspan(at);
      mel_.power(samples_, samples_begin_, next_, count, fresh);
      if (!peak_known_) peak_ = std::max(peak_, *std::max_element(fresh.begin(), fresh.end()));
      next_ = until;
    }
    const int64_t keep = std::max<int64_t>(samples_begin_, next_ * kMelHop - kHalfWindow);
    samples_.erase(samples_.begin(), samples_.begin() + std::min<int64_t>(keep - samples_begin_, static_cast<int64_t>(samples_.size())));
    samples_begin_ = keep;
  }
}

void MelStream::forget(int64_t frame) {
  const int64_t until = std::clamp(frame, first_, next_);
  powers_.erase(powers_.begin(), powers_.begin() + (until - first_) * mel_.mels());
  first_ = until;
}

int64_t MelStream::available(int64_t first) {
  read_until(first + window_);
  while (first > next_ && !ended_) {
    forget(next_);
    read_until(std::min(first + window_, next_ + window_));
  }
  forget(first);
  return std::clamp<int64_t>(next_ - first, 0, window_);
}

std::vector<float> MelStream::features(int64_t first, int64_t count) const {
  const auto mels = static_cast<size_t>(mel_.mels());
  std::vector<float> out(static_cast<size_t>(window_) * mels);
  const auto from = static_cast<size_t>(first - first_) * mels, size = static_cast<size_t>(count) * mels;
  std::copy_n(powers_.begin() + static_cast<int64_t>(from), size, out.begin());
  normalise_mel(std::span(out).first(size), peak_);
  return out;
}

}  // namespace mlxk
