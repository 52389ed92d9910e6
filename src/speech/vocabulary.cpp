#include "speech/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/error.h"
#include "speech/languages.h"
#include "speech/rank_files.h"
#include "speech/stripped.h"
#include "tokenizer/tiktoken.h"

namespace mlxk {

namespace {

constexpr int64_t kEnglishVocabulary = 51864;
constexpr int32_t kEnglishEnd = 50256, kMultilingualEnd = 50257;
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// Symbols whose first token is suppressed even if they are several tokens: all are in a block that nobody speaks.
constexpr std::array kNotes = {"♩", "♪", "♫", "♬", "♭", "♮", "♯"};
constexpr std::array kSymbols = {"\"",  "#",  "(",  ")",   "*",   "+",   "/",   ":",  ";",   "<",  "=",  ">",
                                 "@",   "[",  "\\", "]",   "^",   "_",   "`",   "{",  "|",   "}",  "~",  "「",
                                 "」",  "『", "』", "<<",  ">>",  "<<<", ">>>", "--", "---", "-(", "-[", "('",
                                 "(\"", "((", "))", "(((", ")))", "[[",  "]]",  "{{", "}}",  "♪♪", "♪♪♪"};
constexpr std::array kWithoutSpaces = {"zh", "ja", "th", "lo", "my", "yue"};

std::shared_ptr<const Tokenizer> own_tokenizer(bool multilingual) {
  TokenizerConfig config;
  const std::string name = multilingual ? "multilingual.tiktoken" : "gpt2.tiktoken";
  std::string_view ranks = multilingual ? multilingual_ranks() : english_ranks();
  // The last token of the multilingual file is the empty one, written as padding alone; nothing is ever encoded to it.
  const size_t empty = ranks.rfind("\n= ");
  if (empty != std::string_view::npos) ranks = ranks.substr(0, empty + 1);
  const std::string json = tokenizer_json_from_tiktoken(ranks, name, config);
  return Tokenizer::from_json(json, Json::object(), name);
}

bool has_tokenizer(const std::filesystem::path& dir) { return std::filesystem::exists(dir / "tokenizer.json"); }

/// Whether `text` is a substring of ASCII's punctuation, as tested by OpenAI's splitter (so an empty text is, too).
bool is_punctuation(std::string_view text) {
  constexpr std::string_view kAscii = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
  return kAscii.find(text) != std::string_view::npos;
}

}  // namespace

std::shared_ptr<const SpeechVocabulary> SpeechVocabulary::load(const std::filesystem::path& model_dir,
                                                               int64_t vocab_size) {
  auto tokenizer =
      has_tokenizer(model_dir) ? Tokenizer::load(model_dir) : own_tokenizer(vocab_size > kEnglishVocabulary);
  return std::make_shared<const SpeechVocabulary>(std::move(tokenizer), vocab_size);
}

int SpeechVocabulary::languages_of(int64_t vocab_size) {
  if (vocab_size <= kEnglishVocabulary) return 1;
  return static_cast<int>(std::min<int64_t>(vocab_size - kEnglishVocabulary + 98, kSpeechLanguages));
}

SpeechVocabulary::SpeechVocabulary(std::shared_ptr<const Tokenizer> tokenizer, int64_t vocab_size)
    : tokenizer_(std::move(tokenizer)), multilingual_(vocab_size > kEnglishVocabulary) {
  const int64_t languages = vocab_size - 51765 - (multilingual_ ? 1 : 0);
  if (languages < 1 || languages > kSpeechLanguages) {
    throw Error(ErrorKind::bad_model,
                fmt::format("[whisper] a vocabulary has 51864 to 51866 tokens, got {}", vocab_size));
  }
  languages_ = static_cast<int>(languages);
  end_ = multilingual_ ? kMultilingualEnd : kEnglishEnd;
  std::set<int32_t> refused{encode(" -").at(0), encode(" '").at(0)};
  const auto refuse = [&](const std::string& text, bool always) {
    const auto tokens = encode(text);
    if (tokens.size() == 1 || (always && !tokens.empty())) refused.insert(tokens[0]);
  };
  for (const std::string symbol : kSymbols) {
    refuse(symbol, false);
    refuse(" " + symbol, false);
  }
  for (const std::string note : kNotes) {
    refuse(note, true);
    refuse(" " + note, true);
  }
  non_speech_.assign(refused.begin(), refused.end());
  blank_ = encode(" ");
}

std::vector<int32_t> SpeechVocabulary::start_sequence(int language, bool translate) const {
  if (!multilingual_) return {start()};
  return {start(), this->language(language), translate ? this->translate() : transcribe()};
}

SpeechRules SpeechVocabulary::rules(std::span<const int32_t> suppressed, bool with_timestamps,
                                    double max_initial_timestamp) const {
  SpeechRules rules;
  rules.end = end_;
  rules.no_speech = no_speech();
  rules.no_timestamps = no_timestamps();
  rules.timestamps = timestamps();
  rules.with_timestamps = with_timestamps;
  rules.max_initial_timestamp = max_initial_timestamp > 0 ? static_cast<int>(max_initial_timestamp / 0.02 + 0.5) : -1;
  std::set<int32_t> never;
  for (const int32_t id : suppressed) {
    if (id >= 0) never.insert(id);
    if (id == -1) never.insert(non_speech_.begin(), non_speech_.end());
  }
  for (const int32_t id : {transcribe(), translate(), start(), previous(), translate() + 2, no_speech()})
    never.insert(id);
  rules.suppressed.assign(never.begin(), never.end());
  rules.suppressed_first = blank_;
  rules.suppressed_first.push_back(end_);
  return rules;
}

std::string SpeechVocabulary::decode(std::span<const int32_t> tokens) const {
  std::vector<int32_t> text;
  for (const int32_t token : tokens) {
    if (token < end_) text.push_back(token);
  }
  return tokenizer_->decode(text, false);
}

std::string SpeechVocabulary::decode_all(std::span<const int32_t> tokens) const {
  const bool ends = !tokens.empty() && tokens.back() == end_;
  return decode(tokens) + (ends ? "<|endoftext|>" : "");
}

std::vector<WordTokens> SpeechVocabulary::characters(std::span<const int32_t> tokens) const {
  const std::string whole = decode_all(tokens);
  std::vector<WordTokens> pieces;
  std::vector<int32_t> open;
  size_t at = 0;
  for (const int32_t token : tokens) {
    open.push_back(token);
    const std::string text = decode_all(open);
    const size_t broken = text.find(kReplacement);
    // A replacement character that is in the whole text too is not half a character.
    if (broken != std::string::npos && whole.compare(at + broken, kReplacement.size(), kReplacement) != 0) continue;
    at += text.size();
    pieces.push_back({text, std::move(open)});
    open.clear();
  }
  return pieces;
}

std::vector<WordTokens> SpeechVocabulary::words(std::span<const int32_t> tokens, int language) const {
  std::vector<WordTokens> pieces = characters(tokens);
  const auto code = language_code(language);
  if (std::find(kWithoutSpaces.begin(), kWithoutSpaces.end(), code) != kWithoutSpaces.end()) return pieces;
  std::vector<WordTokens> words;
  for (auto& piece : pieces) {
    const bool begins =
        piece.tokens.front() >= end_ || piece.word.rfind(' ', 0) == 0 || is_punctuation(stripped(piece.word));
    if (begins || words.empty()) {
      words.push_back(std::move(piece));
      continue;
    }
    words.back().word += piece.word;
    words.back().tokens.insert(words.back().tokens.end(), piece.tokens.begin(), piece.tokens.end());
  }
  return words;
}

}  // namespace mlxk
