#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "speech/alignment.h"
#include "speech/options.h"
#include "speech/transcript.h"

namespace mlxk {

/// Gives the segments of one window, which begins at `offset` seconds, their words, and puts right by openai's rules
/// what the alignment draws out: long words at the ends of sentences, after pauses and at the edges of segments.
/// `last_speech`: where the last word before them ended; returns where theirs does.
double add_words(std::vector<SpeechSegment>& segments, std::vector<TimedWord> words, const SpeechVocabulary& vocabulary,
                 const TranscribeOptions& options, double offset, double last_speech);

/// A window whose segments may be invented, as hallucination_silence_threshold has it.
struct DoubtfulWindow {
  double offset, end;  // seconds
  double duration;     // of its sound
  double content;      // of the whole recording
  double last_speech;
  double threshold;  // seconds of silence around what is doubtful
};

/// What to do with it: the segments from `keep` on are dropped; with `seek` (seconds) the next window begins there.
/// With `skip` the whole window is dropped.
struct DoubtfulVerdict {
  size_t keep;
  std::optional<double> seek;
  bool skip = false;
};
DoubtfulVerdict judge_window(std::span<const SpeechSegment> segments, const DoubtfulWindow& window);

}  // namespace mlxk
