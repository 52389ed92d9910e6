#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "speech/transcript.h"

namespace mlxk {

/// A token with its time, in seconds from the recording's beginning.
struct TimedToken {
  int32_t id = 0;
  std::string text;  // with a space where a word begins
  double start = 0, end = 0;
  float probability = 1;
};

/// Collects tokens into words and segments: a segment ends with a sentence, at a pause of a second, or at the next word
/// after 20 seconds.
class FrameSegments {
 public:
  /// Adds the next token; returns the segment that it ends, if any.
  std::optional<SpeechSegment> add(const TimedToken& token);
  /// The last segment, if any.
  std::optional<SpeechSegment> finish();

 private:
  SpeechSegment segment_;
  double logprobs_ = 0;
  int64_t count_ = 0;  // of the segments so far
};

}  // namespace mlxk
