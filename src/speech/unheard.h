#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "media/voice.h"
#include "speech/transcript.h"
#include "worker/speech.h"

namespace mlxk {

/// Whether a window's text is invented: nothing that could be speech is heard in it, and the model was not sure. Never
/// if `heard` is empty. Audible sound that is not voice (music) needs more doubt than silence.
bool is_invented(const SpeechText& text, std::span<const FrameKind> heard);

/// The segments of a window (`begin`: its first frame; times in seconds of the same numbering) in which nothing is
/// heard at all; none if a voice would be left without text. `end`: the first frame of the next window.
std::vector<bool> unheard_segments(std::span<const SpeechSegment> segments, std::span<const FrameKind> heard,
                                   int64_t begin, int64_t end);

}  // namespace mlxk
