#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"
#include "worker/speech.h"

namespace mlxk {

/// A piece of text that is a word, and its tokens.
struct WordTokens {
  std::string word;
  std::vector<int32_t> tokens;
};

/// Whisper's text tokens, and its special ones, whose ids follow from the vocabulary's size. Immutable; any thread.
class SpeechVocabulary {
 public:
  /// Reads the vocabulary of the model in `model_dir`, using its own tokenizer if it has one; throws bad_model for a
  /// vocabulary that is not Whisper's.
  static std::shared_ptr<const SpeechVocabulary> load(const std::filesystem::path& model_dir, int64_t vocab_size);
  SpeechVocabulary(std::shared_ptr<const Tokenizer> tokenizer, int64_t vocab_size);
  /// The number of languages that a model with that vocabulary transcribes; 1: English.
  static int languages_of(int64_t vocab_size);

  bool multilingual() const { return multilingual_; }
  int languages() const { return languages_; }
  int32_t end() const { return end_; }
  int32_t start() const { return end_ + 1; }
  int32_t language(int index) const { return start() + 1 + index; }
  int32_t translate() const { return start() + 1 + languages_; }
  int32_t transcribe() const { return translate() + 1; }
  int32_t previous() const { return translate() + 3; }
  int32_t no_speech() const { return translate() + 4; }
  int32_t no_timestamps() const { return translate() + 5; }
  int32_t timestamps() const { return translate() + 6; }

  /// The first tokens of a transcript: start, language and task; for an English-only model just the start.
  std::vector<int32_t> start_sequence(int language, bool translate) const;
  /// The rules of OpenAI's decoder. `suppressed`: ids that must not occur; -1 among them means non_speech().
  SpeechRules rules(std::span<const int32_t> suppressed, bool with_timestamps, double max_initial_timestamp) const;
  /// Symbols that are not speech: brackets, notes, quotes.
  const std::vector<int32_t>& non_speech() const { return non_speech_; }

  std::vector<int32_t> encode(std::string_view text) const { return tokenizer_->encode(text, false); }
  /// The text of the text tokens among `tokens`.
  std::string decode(std::span<const int32_t> tokens) const;
  /// Splits `tokens` (text, then the end token) into words: at spaces, or in languages without spaces at characters.
  /// The end token is a word of its own.
  std::vector<WordTokens> words(std::span<const int32_t> tokens, int language) const;

 private:
  std::vector<WordTokens> characters(std::span<const int32_t> tokens) const;
  std::string decode_all(std::span<const int32_t> tokens) const;

  std::shared_ptr<const Tokenizer> tokenizer_;
  bool multilingual_;
  int languages_;
  int32_t end_;
  std::vector<int32_t> non_speech_, blank_;
};

}  // namespace mlxk
