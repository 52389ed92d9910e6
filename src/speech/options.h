#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mlxk {

/// How a recording is transcribed; the defaults are openai-whisper's.
struct TranscribeOptions {
  std::string language;                                                    // code or name; empty: detected
  bool translate = false;                                                  // into English
  std::vector<float> temperatures = {0.0F, 0.2F, 0.4F, 0.6F, 0.8F, 1.0F};  // tried in turn until a text is good enough
  std::optional<float> compression_ratio_threshold = 2.4F;                 // above it a text repeats itself
  std::optional<float> logprob_threshold = -1.0F;                          // below it a text is a guess
  std::optional<float> no_speech_threshold = 0.6F;  // above it, and below the one before, nobody speaks
  bool condition_on_previous_text = true;
  std::string initial_prompt;         // what the first window's text is to follow
  bool carry_initial_prompt = false;  // and each other's
  std::string hotwords;               // words that may come, before every window
  int beam_size = 0;                  // at temperature 0; 0: the likeliest token
  int best_of = 1;                    // above it
  float patience = 1;
  std::optional<float> length_penalty;
  bool with_timestamps = true;
  double max_initial_timestamp = 1.0;
  std::vector<int32_t> suppressed = {-1};                       // tokens that must not come; -1: those of non-speech
  int max_tokens = 224;                                         // of a window
  std::vector<std::pair<double, std::optional<double>>> clips;  // seconds: only these; empty: all of it
  bool word_timestamps = false;
  std::string prepend_punctuations = "\"'“¿([{-";
  std::string append_punctuations = "\"'.。,，!！?？:：”)]}、";
  bool drop_unheard = true;  // text where nothing is heard that could be speech, and that the model is not sure of
  bool only_voice = false;   // what is no voice is left out before anything is decoded; not together with clips
  std::optional<double> hallucination_silence_threshold;  // with words: longer silence around doubt is skipped
  std::optional<uint64_t> seed;
};

/// Has the text written in English, and what was said before left out of account: it is in another language than that.
/// As the original command does; openai's own default is to go by it.
void translate_to_english(TranscribeOptions& options);

/// The temperature that is asked for, then the higher ones that are tried where a text is not good enough.
std::vector<float> temperatures_from(float first);

/// Clips of "START,END,…" in seconds, the last one to the end where none is given; nullopt: not such a list.
std::optional<std::vector<std::pair<double, std::optional<double>>>> parse_clips(const std::string& text);

}  // namespace mlxk
