#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "media/mel.h"
#include "media/sample_source.h"
#include "media/voice.h"

namespace mlxk {

/// A recording's features, window by window, in bounded memory. One thread at a time.
class MelStream {
 public:
  /// A source that can go back is read once completely for its peak, by which OpenAI scales the features (a short
  /// recording is kept); for another source the peak is that of the part read so far. Throws like the source; `source`
  /// must outlive this object. With `only_voice`, everything except voice is left out, with a margin of a second around
  /// it: frames are numbered without it.
  MelStream(SampleSource& source, int mels, int window_frames, bool only_voice = false);

  /// The number of frames available from `first` on, at most a window's, and none after a long pause that was left out.
  /// Earlier frames are dropped; `first` must not go back.
  int64_t available(int64_t first);
  /// Features [window, mels] of the frames [first, first + count), zeros after them; call it after available(first).
  std::vector<float> features(int64_t first, int64_t count) const;
  /// The kinds of these frames; likewise.
  std::vector<FrameKind> frame_kinds(int64_t first, int64_t count) const;
  /// Whether they are pure silence.
  bool is_silence(int64_t first, int64_t count) const;
  /// The start of frame `frame` in seconds of the recording; with `end` the end of the frame before it.
  double time_of(double frame, bool end = false) const;
  /// Frames and seconds read so far; at the end the totals.
  int64_t frames() const { return next_; }
  double seconds() const { return static_cast<double>(samples_read_) / kSpeechRate; }

 private:
  /// A run of consecutive frames, in our numbering and the recording's.
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
  int64_t chosen_ = 0;  // frames before it are decided: kept or left out
  std::vector<Piece> pieces_;
};

}  // namespace mlxk
