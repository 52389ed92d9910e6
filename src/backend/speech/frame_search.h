#pragma once

#include <span>

#include "models/audio/frame_net.h"
#include "worker/speech.h"

namespace mlxk {

/// Greedy decoding of a window's frames: the caller gives the scores of frame(), until done(). For a transducer they
/// depend on the text so far, which `changed` says has a new token.
class FrameSearch {
 public:
  /// Begins at task.first, or later if the window before jumped into this one.
  FrameSearch(const FrameRule& rule, SpeechEmit task);

  bool done() const { return frame_ >= task_.last; }
  int frame() const { return frame_; }
  /// The last token, the blank before the first.
  int32_t last() const { return task_.state.last < 0 ? rule_.blank : task_.state.last; }
  /// Reads the scores of frame(), [tokens with the blank + durations], and advances; returns whether the text has a new
  /// token. Throws internal if they are not finite.
  bool take(std::span<const float> scores);
  /// The tokens, and the state without the predictor's.
  SpeechEmitted result() &&;

 private:
  bool take_ctc(int32_t best, float probability);
  void add(int32_t id, int duration, float probability) {
    found_.tokens.push_back({id, frame_, duration, probability});
  }

  const FrameRule& rule_;
  SpeechEmit task_;
  int frame_;
  int symbols_ = 0;  // steps at this frame
  SpeechEmitted found_;
};

}  // namespace mlxk
