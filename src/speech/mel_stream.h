#pragma once

#include <cstdint>
#include <vector>

#include "media/mel.h"
#include "media/sample_source.h"

namespace mlxk {

/// A recording's features, window by window, in memory that does not grow with it. One thread at a time.
class MelStream {
 public:
  /// Of a source that can go back, all of it is read once for its peak, by which openai scales the features (a short one is
  /// kept); of another the peak is that of what was read so far. Throws what the source throws; `source` must outlive it.
  MelStream(SampleSource& source, int mels, int window_frames);

  /// The frames that there are from `first` on, at most a window's; earlier ones are forgotten. `first` must not go back.
  int64_t available(int64_t first);
  /// Features [window, mels] of the frames [first, first + count), zeros after them; after available(first).
  std::vector<float> features(int64_t first, int64_t count) const;
  /// All frames, or nothing while the end was not reached.
  bool ended() const { return ended_; }
  /// Frames (and seconds) read so far, at the end all there are.
  int64_t frames() const { return samples_read_ / kMelHop; }
  double seconds() const { return static_cast<double>(samples_read_) / kSpeechRate; }

 private:
  void read_until(int64_t frame);
  void forget(int64_t frame);
  void restart();

  SampleSource& source_;
  LogMel mel_;
  int window_;
  float peak_ = -10;
  bool peak_known_ = false;
  bool ended_ = false;
  int64_t samples_read_ = 0;
  std::vector<float> samples_;   // from samples_begin_ on
  int64_t samples_begin_ = 0;
  std::vector<float> powers_;    // of the frames [first_, next_)
  int64_t first_ = 0, next_ = 0;
};

}  // namespace mlxk
