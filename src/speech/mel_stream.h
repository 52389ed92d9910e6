#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "media/mel.h"
#include "media/sample_source.h"
#include "media/voice.h"

namespace mlxk {

/// A recording's features, window by window, in memory that does not grow with it. One thread at a time.
class MelStream {
 public:
  /// Of a source that can go back, all of it is read once for its peak, by which openai scales the features (a short
  /// one is kept); of another the peak is that of what was read so far. Throws what the source throws; `source` must
  /// outlive it. With `only_voice` what is no voice is left out, but for a second around it: frames are numbered
  /// without it.
  MelStream(SampleSource& source, int mels, int window_frames, bool only_voice = false);

  /// The frames that there are from `first` on, at most a window's, and none behind a long pause that was left out.
  /// Earlier ones are forgotten; `first` must not go back.
  int64_t available(int64_t first);
  /// Features [window, mels] of the frames [first, first + count), zeros after them; after available(first).
  std::vector<float> features(int64_t first, int64_t count) const;
  /// What these frames hold; likewise.
  std::vector<Heard10ms> heard(int64_t first, int64_t count) const;
  /// Whether there is no sound in them at all.
  bool is_silence(int64_t first, int64_t count) const;
  /// When frame `frame` begins, in seconds of the recording; with `end` when the one before it ends.
  double time_of(double frame, bool end = false) const;
  /// Frames and seconds read so far, at the end all there are.
  int64_t frames() const { return next_; }
  double seconds() const { return static_cast<double>(samples_read_) / kSpeechRate; }

 private:
  /// A stretch of frames that follow one another, in our numbers and the recording's.
  struct Piece {
    int64_t frame, recorded;
    int64_t left_out() const { return recorded - frame; }  // before it
  };

  void read_until(int64_t frame);
  void take(int64_t until);
  void choose();
  void forget(int64_t frame);
  void restart();
  std::span<const float> powers_of(int64_t first, int64_t count) const;

  SampleSource& source_;
  LogMel mel_;
  int window_;
  bool only_voice_;
  bool scanning_ = false;  // the first of two passes
  float peak_ = -10;
  bool peak_known_ = false;
  bool ended_ = false;
  int64_t samples_read_ = 0;
  std::vector<float> samples_;  // from samples_begin_ on
  int64_t samples_begin_ = 0;
  std::vector<float> powers_;   // of the frames [first_, next_)
  std::vector<float> periods_;  // likewise
  int64_t first_ = 0, next_ = 0;
  std::vector<float> new_powers_, new_periods_;  // of the recording's frames [new_first_, recorded_), to choose from
  int64_t new_first_ = 0, recorded_ = 0;
  int64_t chosen_ = 0;  // up to which it is known which are left out
  std::vector<Piece> pieces_;
};

}  // namespace mlxk
