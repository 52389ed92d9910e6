#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "speech/vocabulary.h"
#include "worker/speech.h"

namespace mlxk {

/// A word and its times, in seconds from its window's beginning.
struct TimedWord {
  std::string word;
  std::vector<int32_t> tokens;
  double start = 0, end = 0;
  float probability = 0;
};

/// The words of `text` (text tokens, aligned after a prompt of `prompt` tokens), timed by their tokens' attention to a
/// window of `frames` frames: OpenAI's method, a median over seven positions, then the cheapest monotone path.
std::vector<TimedWord> time_words(const SpeechVocabulary& vocabulary, const SpeechAlignment& alignment, int prompt,
                                  std::span<const int32_t> text, int language, int64_t frames);

/// Moves punctuation that is a separate word to the word after it (`prepended`) or before it (`appended`); its own
/// entry stays, empty.
void merge_punctuation(std::vector<TimedWord>& words, const std::string& prepended, const std::string& appended);

/// The cheapest path through costs [rows, columns] from the first cell to the last: its cells, in order.
std::vector<std::pair<int, int>> cheapest_path(std::span<const float> costs, int rows, int columns);

}  // namespace mlxk
