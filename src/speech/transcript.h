#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mlxk {

/// Times are seconds from the recording's beginning.
struct SpokenWord {
  std::string word;  // with the space before it
  double start = 0, end = 0;
  float probability = 0;
};

/// Why a text that was decoded again without improving may be wrong.
enum class SpeechDoubt { none, repeats, guess };

struct SpeechSegment {
  int64_t id = 0;
  int64_t seek = 0;  // the window's first frame
  double start = 0, end = 0;
  std::string text;
  std::vector<int32_t> tokens;
  float temperature = 0, avg_logprob = 0, compression_ratio = 0, no_speech_prob = 0;
  std::vector<SpokenWord> words;  // if requested
  SpeechDoubt doubt = SpeechDoubt::none;
  std::string speaker = {};              // by a model that tells them apart
  std::string emotion = {}, event = {};  // of the voice and of the sound around it, by a model that tells them
};

/// The tokens of a transcript that a language model wrote.
struct TranscriptTokens {
  int64_t audio = 0, text = 0, written = 0;  // of the prompt, and of the answer
};

struct Transcript {
  std::string language;  // code
  float language_probability = 1;
  double duration = 0;  // seconds
  std::string text;
  std::vector<SpeechSegment> segments;
  std::optional<TranscriptTokens> tokens;  // absent: of a speech model, whose segments have them
};

}  // namespace mlxk
