#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "speech/alignment.h"
#include "speech/options.h"
#include "speech/transcript.h"

namespace mlxk {

/// Sets the words of the segments of one window, which begins at `offset` seconds, and corrects by OpenAI's rules words
/// that the alignment stretches: long words at the ends of sentences, after pauses and at the edges of segments.
/// `last_speech`: the end of the last word before them; returns the end of theirs.
double add_words(std::vector<SpeechSegment>& segments, std::vector<TimedWord> words, const SpeechVocabulary& vocabulary,
                 const TranscribeOptions& options, double offset, double last_speech);

/// A window whose segments may be hallucinations, for hallucination_silence_threshold.
struct DoubtfulWindow {
  double offset, end;  // seconds
  double duration;     // of the window's sound
  double content;      // of the whole recording
  double last_speech;
  double threshold;  // seconds of silence around doubtful text
};

/// The verdict: the segments from `keep` on are dropped; with `seek` (seconds) the next window begins there. With
/// `skip` the whole window is dropped.
struct DoubtfulVerdict {
  size_t keep;
  std::optional<double> seek;
  bool skip = false;
};
DoubtfulVerdict judge_window(std::span<const SpeechSegment> segments, const DoubtfulWindow& window);

}  // namespace mlxk
