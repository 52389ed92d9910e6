#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "speech/vocabulary.h"

namespace mlxk {

/// A part of a window's text between two timestamps; times are seconds from the window's beginning.
struct CutSegment {
  double start = 0, end = 0;
  std::vector<int32_t> tokens;  // including the timestamps
};

struct WindowCut {
  std::vector<CutSegment> segments;
  int64_t next = 0;            // frames from this window's beginning to the next one's
  bool single_ending = false;  // no speech follows the last timestamp
};

/// Splits the tokens of a window with `frames` frames of sound at their timestamps, like OpenAI: at each pair; the
/// tokens after the last pair are left to the next window.
WindowCut cut_window(const SpeechVocabulary& vocabulary, std::span<const int32_t> tokens, int64_t frames);

}  // namespace mlxk
