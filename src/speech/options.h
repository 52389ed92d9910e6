#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mlxk {

/// The options of a transcription; the defaults are openai-whisper's.
struct TranscribeOptions {
  std::string language;                                                    // code or name; empty: detected
  bool translate = false;                                                  // into to_language
  std::string to_language;                                                 // code or name; empty: English
  std::vector<float> temperatures = {0.0F, 0.2F, 0.4F, 0.6F, 0.8F, 1.0F};  // tried in turn until a text is good enough
  std::optional<float> compression_ratio_threshold = 2.4F;  // a higher ratio means that a text repeats itself
  std::optional<float> logprob_threshold = -1.0F;           // a lower mean means that a text is a guess
  std::optional<float> no_speech_threshold = 0.6F;          // above it, with a mean below the one before, nobody speaks
  bool condition_on_previous_text = true;
  std::string initial_prompt;         // context before the first window's text
  bool carry_initial_prompt = false;  // the initial prompt precedes later windows too
  std::string hotwords;               // expected words, as context for every window
  int beam_size = 0;                  // at temperature 0; 0: the likeliest token
  int best_of = 1;                    // above it
  float patience = 1;
  std::optional<float> length_penalty;
  bool with_timestamps = true;
  double max_initial_timestamp = 1.0;
  std::vector<int32_t> suppressed = {-1};                       // ids of suppressed tokens; -1: those of non-speech
  int max_tokens = 224;                                         // of a window
  std::vector<std::pair<double, std::optional<double>>> clips;  // seconds: only these parts; empty: the whole recording
  bool word_timestamps = false;
  bool itn = true;  // numbers and punctuation as they are written (inverse text normalisation)
  std::string prepend_punctuations = "\"'“¿([{-";
  std::string append_punctuations = "\"'.。,，!！?？:：”)]}、";
  bool drop_unheard = true;  // drops text where nothing is heard that could be speech and the model is not sure
  bool only_voice = false;   // drops everything except voice before decoding; not together with clips
  std::optional<double> hallucination_silence_threshold;  // with words: skips longer silence around doubtful text
  std::optional<uint64_t> seed;
};

/// Requests English text and ignores the previous text as context, because that is in another language. Like the
/// original command; OpenAI's own default uses it as context.
void translate_to_english(TranscribeOptions& options);

/// Likewise into `language`, a code or name.
void translate_to(TranscribeOptions& options, const std::string& language);

/// The requested temperature, then the higher ones to try if a text is not good enough.
std::vector<float> temperatures_from(float first);

/// The requested parts as frames [begin, end) of 10 ms; without any the whole recording. Throws invalid unless they
/// rise.
struct FrameClip {
  int64_t begin, end;
};
std::vector<FrameClip> frame_clips(const TranscribeOptions& options);

/// Clips from "START,END,…" in seconds; without a last END that clip ends with the recording. nullopt: not such a list.
std::optional<std::vector<std::pair<double, std::optional<double>>>> parse_clips(const std::string& text);

}  // namespace mlxk
