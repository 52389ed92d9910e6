#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "media/mel.h"

namespace mlxk {

/// When a turn begins and ends; the defaults are those of OpenAI's server_vad.
struct TurnOptions {
  double threshold = 0.5;  // the share of 200 ms that must be voice for a turn to begin
  int prefix_ms = 300;     // before the voice that belong to the turn
  int silence_ms = 500;    // without a voice end it
};

/// The begin or end of a turn, at a sample of the sound.
struct TurnChange {
  bool begins;
  int64_t at;
};

/// Finds the turns of somebody who speaks, in sound at 16 kHz that arrives over time, by the voice of the last ten
/// seconds (media/voice.h). One thread at a time.
class TurnDetector {
 public:
  explicit TurnDetector(const TurnOptions& options = {});
  /// Reads more sound and calls `changed` for each turn that begins or ends, accurate to 100 ms.
  void take(std::span<const float> samples, const std::function<void(const TurnChange&)>& changed);
  /// Whether somebody speaks.
  bool speaks() const { return speaks_; }
  /// The sample after the last voice, while somebody speaks.
  int64_t voice_end() const { return last_voice_ * kMelHop; }
  /// Ends a turn in progress without reporting it: the next one begins after all sound so far.
  void restart();
  void set_options(const TurnOptions& options) { options_ = options; }

 private:
  void judge(const std::function<void(const TurnChange&)>& changed);

  TurnOptions options_;
  LogMel mel_;
  std::vector<float> samples_;  // from samples_begin_ on
  int64_t samples_begin_ = 0;
  std::vector<float> powers_, periods_;  // of the frames [first_, next_)
  int64_t first_ = 0, next_ = 0;
  bool speaks_ = false;
  int64_t floor_ = 0;       // the frame at which the last turn ended
  int64_t last_voice_ = 0;  // the frame after the last voice
};

}  // namespace mlxk
