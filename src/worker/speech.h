#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace mlxk {

/// What of a speech model its callers must know.
struct SpeechFacts {
  int mels = 0;             // features of a frame
  int frames = 0;           // of a window: 100 a second
  int audio_positions = 0;  // of a window, for which there are attention scores
  int text_positions = 0;   // prompt and answer
};

/// What may come next in a text, in token ids. -1: the vocabulary has no such token.
struct SpeechRules {
  int32_t end = -1, no_speech = -1, no_timestamps = -1;
  int32_t timestamps = -1;                // the first one, 0.00 s; those after it go on to the vocabulary's end
  bool with_timestamps = true;            // in pairs, never going back
  int max_initial_timestamp = 50;         // in steps, of the first token; -1: none
  std::vector<int32_t> suppressed;        // never
  std::vector<int32_t> suppressed_first;  // not as the first token
};

/// The likeliest of the languages, by the token after `start`.
struct SpeechDetect {
  int32_t start;
  std::vector<int32_t> languages;
};
struct SpeechLanguages {
  std::vector<float> probabilities;  // of each, in their order
};

/// The window's text after `prompt`, whose token `start_index` is the one that begins a transcript.
struct SpeechSearch {
  std::vector<int32_t> prompt;
  int start_index = 0;
  SpeechRules rules;
  float temperature = 0;                // 0: the likeliest token, else a draw
  int candidates = 1;                   // drawn beside each other; the best is kept
  int beams = 0;                        // beam search with so many, at temperature 0; 0: none
  float patience = 1;                   // of it
  std::optional<float> length_penalty;  // how candidates are ranked; absent: by their mean log-probability
  int max_tokens = 224;
  std::optional<uint64_t> seed;
};
struct SpeechText {
  std::vector<int32_t> tokens;  // without the end token
  double sum_logprob = 0;       // with it
  float no_speech = 0;          // the probability that nobody speaks
  double mean_logprob() const { return sum_logprob / static_cast<double>(tokens.size() + 1); }
};

/// Where in the sound the tokens are: `tokens` is a whole text from the start-of-transcript token on. Probabilities are
/// those among tokens below `end`.
struct SpeechAlign {
  std::vector<int32_t> tokens;
  int32_t end;
};
struct SpeechAlignment {
  int heads = 0, positions = 0;
  std::vector<float> scores;         // [heads, tokens, positions], before the softmax
  std::vector<float> probabilities;  // of token i + 1 after token i
};

struct SpeechEncoded {};  // the window was listened to
struct SpeechFinish {};
using SpeechAnswer = std::variant<SpeechEncoded, SpeechLanguages, SpeechText, SpeechAlignment>;
using SpeechTask = std::variant<SpeechFinish, SpeechDetect, SpeechSearch, SpeechAlign>;

/// One window of sound, and what is asked of it, one thing after the other.
struct SpeechRequest {
  std::vector<float> features;  // [frames, mels]
  /// Given an answer, the next task. On the worker thread, which waits: quick. What it throws fails the request.
  std::function<SpeechTask(const SpeechAnswer&)> next;
  std::string cache_scope;
  std::optional<std::chrono::steady_clock::time_point> deadline;
};

}  // namespace mlxk
