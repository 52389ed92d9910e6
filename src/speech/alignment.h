#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "speech/vocabulary.h"
#include "worker/speech.h"

namespace mlxk {

/// A word and when it was said, in seconds from its window's beginning.
struct TimedWord {
  std::string word;
  std::vector<int32_t> tokens;
  double start = 0, end = 0;
  float probability = 0;
};

/// The words of `text` (text tokens, aligned after a prompt of `prompt` tokens) by where their tokens look at the sound
/// of a window of `frames` frames: openai's way, the median of seven positions, then the cheapest monotone path.
std::vector<TimedWord> time_words(const SpeechVocabulary& vocabulary, const SpeechAlignment& alignment, int prompt,
                                  std::span<const int32_t> text, int language, int64_t frames);

/// Moves punctuation that stands alone to the word after it (`prepended`) or before it (`appended`); its own entry
/// stays, empty.
void merge_punctuation(std::vector<TimedWord>& words, const std::string& prepended, const std::string& appended);

/// The cheapest path through costs [rows, columns] from the first cell to the last: its cells, in order.
std::vector<std::pair<int, int>> cheapest_path(std::span<const float> costs, int rows, int columns);

}  // namespace mlxk
