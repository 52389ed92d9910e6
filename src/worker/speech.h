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

/// The rules for the next token of a text, as token ids. -1: the vocabulary has no such token.
struct SpeechRules {
  int32_t end = -1, no_speech = -1, no_timestamps = -1;
  int32_t timestamps = -1;                // the first one, 0.00 s; the others follow to the end of the vocabulary
  bool with_timestamps = true;            // in pairs, never decreasing
  int max_initial_timestamp = 50;         // of the first token, in steps; -1: no limit
  std::vector<int32_t> suppressed;        // never
  std::vector<int32_t> suppressed_first;  // not as the first token
};

/// Asks for the probabilities of `languages` as the token after `start`.
struct SpeechDetect {
  int32_t start;
  std::vector<int32_t> languages;
};
struct SpeechLanguages {
  std::vector<float> probabilities;  // of each, in their order
};

/// Asks for the window's text after `prompt`, whose token `start_index` is start-of-transcript.
struct SpeechSearch {
  std::vector<int32_t> prompt;
  int start_index = 0;
  SpeechRules rules;
  float temperature = 0;                // 0: the likeliest token
  int candidates = 1;                   // sampled in parallel; the best is kept
  int beams = 0;                        // of a beam search at temperature 0; 0: none
  float patience = 1;                   // of the beam search
  std::optional<float> length_penalty;  // of the ranking; absent: candidates rank by mean log-probability
  int max_tokens = 224;
  std::optional<uint64_t> seed;
};
struct SpeechText {
  std::vector<int32_t> tokens;  // without the end token
  double sum_logprob = 0;       // with the end token
  float no_speech = 0;          // the probability that nobody speaks
  double mean_logprob() const { return sum_logprob / static_cast<double>(tokens.size() + 1); }
};

/// Asks for the times of `tokens`, a whole text from the start-of-transcript token on. Probabilities are relative to
/// the tokens below `end`.
struct SpeechAlign {
  std::vector<int32_t> tokens;
  int32_t end;
};
struct SpeechAlignment {
  int heads = 0, positions = 0;
  std::vector<float> scores;         // [heads, tokens, positions], before the softmax
  std::vector<float> probabilities;  // of token i + 1 after token i
};

/// Where a model that decodes frame by frame is between two windows.
struct SpeechEmitState {
  int32_t last = -1;             // CTC: the token of the last frame; a transducer: the last token; -1: none
  int skip = 0;                  // frames of the next window that were jumped over already
  std::vector<float> predictor;  // the state of a transducer's prediction network; empty: at the beginning
};

/// Asks a model that decodes frame by frame for the tokens at the encoder's frames [first, last).
struct SpeechEmit {
  int first = 0, last = 0;
  SpeechEmitState state;
};
struct EmittedToken {
  int32_t id;
  int frame;     // at which it begins, of the window
  int duration;  // frames; 0: unknown
  float probability;
};
struct SpeechEmitted {
  std::vector<EmittedToken> tokens;
  SpeechEmitState state;
};

struct SpeechEncoded {  // the window was encoded
  int frames = 0;       // of a model that decodes frame by frame
};
struct SpeechFinish {};
using SpeechAnswer = std::variant<SpeechEncoded, SpeechLanguages, SpeechText, SpeechAlignment, SpeechEmitted>;
using SpeechTask = std::variant<SpeechFinish, SpeechDetect, SpeechSearch, SpeechAlign, SpeechEmit>;

/// One window of audio and the tasks on it, one after the other.
struct SpeechRequest {
  std::vector<float> features;      // [frames, mels]
  std::vector<int32_t> conditions;  // what the encoder is told of the sound, as tokens of its own
  /// Returns the task after an answer. The worker thread calls it and waits: be quick. Exceptions fail the request.
  std::function<SpeechTask(const SpeechAnswer&)> next;
  std::string cache_scope;
  std::optional<std::chrono::steady_clock::time_point> deadline;
};

}  // namespace mlxk
