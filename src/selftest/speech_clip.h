#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace mlxk {

/// A recording of eleven seconds of English speech (MP3), and its transcript, in lower case without punctuation.
std::span<const uint8_t> speech_clip();
inline constexpr std::string_view kSpeechClipText =
    "and so my fellow americans ask not what your country can do for you ask what you can do for your country";

}  // namespace mlxk
