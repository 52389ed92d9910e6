#pragma once

#include <optional>
#include <string>
#include <vector>

#include "json/json_fwd.h"
#include "probe/model_info.h"

namespace mlxk {

/// What a model that transcribes can do, known without loading it.
struct SpeechAbilities {
  std::vector<std::string> languages;  // codes, Whisper's first; empty: the model does not tell
  bool segment_times = false, word_times = false;
  bool translation = false;  // into English
  bool diarization = false;  // who speaks
};

/// The abilities of a speech model or of a language model that accepts audio; nullopt: it transcribes nothing.
std::optional<SpeechAbilities> speech_abilities(const ModelInfo& info);

/// The same as JSON, with null for unknown languages; null: it transcribes nothing.
Json speech_json(const ModelInfo& info);

}  // namespace mlxk
