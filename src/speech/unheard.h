#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "media/voice.h"
#include "speech/transcript.h"
#include "worker/speech.h"

namespace mlxk {

/// Whether a window's text is invented: nothing that could be speech is heard in it, and the model was not sure. Never
/// where `heard` is empty. What is heard but is no voice (music) needs more doubt than what is not heard at all.
bool is_invented(const SpeechText& text, std::span<const Heard10ms> heard);

/// The segments of a window (`begin`: its first frame; times in seconds of the same numbering) that lie where nothing
/// is heard at all; none where a voice would be left without text. `end`: the first frame of the next window.
std::vector<bool> unheard_segments(std::span<const SpeechSegment> segments, std::span<const Heard10ms> heard,
                                   int64_t begin, int64_t end);

}  // namespace mlxk
