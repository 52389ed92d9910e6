#include "selftest/speech_clip.h"

#include <cstddef>

#include "base/embedded_file.h"

MLXK_EMBED(mlxk_speech_clip, MLXK_SPEECH_CLIP);

namespace mlxk {

std::span<const uint8_t> speech_clip() {
  return {reinterpret_cast<const uint8_t*>(mlxk_speech_clip_begin),
          static_cast<size_t>(mlxk_speech_clip_end - mlxk_speech_clip_begin)};
}

}  // namespace mlxk
