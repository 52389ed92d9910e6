#include "speech/canary_vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/file.h"
#include "json/json.h"
#include "json/member.h"
#include "speech/languages.h"
#include "speech/nemo_features.h"
#include "speech/pieces.h"
#include "tokenizer/base64.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxVocabularyBytes = size_t{64} << 20;
constexpr const char* kSpecialTokens = "spl_tokens";  // among the tokenizers of languages

/// The pieces of a vocabulary, and the file or key that has them.
struct Pieces {
  std::vector<std::string> pieces;
  std::string place;
};

/// The file that config.json names, which must be inside the folder.
fs::path file_of(const fs::path& dir, std::string named, const std::string& key) {
  if (named.starts_with("nemo:")) named.erase(0, 5);
  const fs::path path(named);
  const bool inside = !named.empty() && path.is_relative() &&
                      std::none_of(path.begin(), path.end(), [](const fs::path& part) { return part == ".."; });
  if (!inside) {
    throw Error(ErrorKind::bad_model,
                fmt::format("[config.json] {} must name a file beside config.json, got '{}'", key, named));
  }
  return dir / path;
}

/// Each line has a piece, a space and its id; the piece of a blank is left out.
std::vector<std::string> listed_pieces(const std::string& text, int64_t vocab_size) {
  std::vector<std::string> pieces(static_cast<size_t>(vocab_size));
  size_t number = 1;
  for (size_t at = 0; at < text.size(); ++number) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty()) continue;
    const size_t space = line.rfind(' ');
    const char* digits = line.data() + (space == std::string::npos ? 0 : space + 1);
    size_t id = 0;
    const auto [after, error] = std::from_chars(digits, line.data() + line.size(), id);
    if (error != std::errc() || after != line.data() + line.size() || id >= pieces.size()) {
      throw Error(ErrorKind::bad_model,
                  fmt::format("[tokens.txt] line {} must end with an id below {}", number, vocab_size));
    }
    pieces[id] = space == std::string::npos || space == 0 ? " " : line.substr(0, space);
  }
  return pieces;
}

/// One SentencePiece model for each language, whose ids follow one another.
std::vector<std::string> joined_pieces(const fs::path& dir, const Json& langs) {
  std::vector<std::string> all;
  for (const auto& [language, one] : langs.items()) {
    const std::string key = fmt::format("tokenizer.langs.{}.model_path", language);
    const fs::path file = file_of(dir, string_at(one, "model_path"), key);
    const auto own = sentencepiece_pieces(read_file(file, kMaxVocabularyBytes), file);
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

Pieces read_pieces(const fs::path& dir, const Json& config, int64_t vocab_size) {
  const Json& tokenizer = value_at(config, "tokenizer");
  const Json& langs = value_at(tokenizer, "langs");
  if (fs::exists(dir / "tokenizer.json")) {
    const auto own = Tokenizer::load(dir);
    return {tokenizer_pieces(*own, vocab_size), "tokenizer.json"};
  }
  if (langs.is_object() && !langs.empty()) return {joined_pieces(dir, langs), "config.json tokenizer.langs"};
  const std::string named = string_at(tokenizer, "model_path");
  const fs::path model = named.empty() ? dir / "tokenizer.model" : file_of(dir, named, "tokenizer.model_path");
  if (fs::exists(model))
    return {sentencepiece_pieces(read_file(model, kMaxVocabularyBytes), model), model.filename().string()};
  if (fs::exists(dir / "tokens.txt")) {
    return {listed_pieces(read_file(dir / "tokens.txt", kMaxVocabularyBytes), vocab_size), "tokens.txt"};
  }
  if (const std::string inside = string_at(tokenizer, "model_base64"); !inside.empty()) {
    const auto bytes = base64_decode(inside);
    if (!bytes) throw Error(ErrorKind::bad_model, "[config.json] tokenizer.model_base64 is not base64");
    return {sentencepiece_pieces(*bytes, "config.json tokenizer.model_base64"), "config.json tokenizer.model_base64"};
  }
  throw Error(ErrorKind::not_found,
              fmt::format("[{}] tokenizer.json, tokenizer.model or tokens.txt is missing", dir.filename().string()));
}

}  // namespace

std::vector<std::string> canary_languages(const Json& config) {
  std::vector<std::string> codes;
  const Json& listed = value_at(config, "supported_languages");
  if (listed.is_array()) {
    for (const Json& code : listed) {
      if (code.is_string()) codes.push_back(code.get<std::string>());
    }
  }
  const Json& langs = value_at(value_at(config, "tokenizer"), "langs");
  if (codes.empty() && langs.is_object()) {
    for (const auto& [code, one] : langs.items()) {
      if (code != kSpecialTokens) codes.push_back(code);
    }
  }
  if (!codes.empty()) return codes;
  return {"bg", "hr", "cs", "da", "nl", "en", "et", "fi", "fr", "de", "el", "hu", "it",
          "lv", "lt", "mt", "pl", "pt", "ro", "sk", "sl", "es", "sv", "ru", "uk"};
}

CanaryVocabulary::CanaryVocabulary(const std::vector<std::string>& pieces, const std::vector<std::string>& languages,
                                   NemoMel features, const std::string& place)
    : features_(std::move(features)) {
  const auto find = [&](const std::string& name) {
    const auto found = std::find(pieces.begin(), pieces.end(), "<|" + name + "|>");
    return found == pieces.end() ? -1 : static_cast<int32_t>(found - pieces.begin());
  };
  const auto token = [&](const char* name) {
    const int32_t id = find(name);
    if (id < 0) throw Error(ErrorKind::bad_model, fmt::format("[{}] the token <|{}|> is missing", place, name));
    return id;
  };
  begin_ = {token("startofcontext"), token("startoftranscript"), token("emo:undefined")};
  punctuation_ = token("pnc");
  no_punctuation_ = token("nopnc");
  rest_ = {token("noitn"), token("notimestamp"), token("nodiarize")};
  end_ = token("endoftext");
  for (const std::string& code : languages) {
    if (const int32_t id = find(code); id >= 0 && language_tokens_.emplace(code, id).second) languages_.push_back(code);
  }
  if (languages_.empty()) {
    throw Error(ErrorKind::bad_model, fmt::format("[{}] the tokens of languages, as <|en|>, are missing", place));
  }
  for (const std::string& piece : pieces) texts_.push_back(text_of_piece(piece));
}

std::shared_ptr<const CanaryVocabulary> CanaryVocabulary::load(const fs::path& model_dir, int64_t vocab_size) {
  const Json config = read_json(model_dir / "config.json");
  const bool transformers = value_at(config, "encoder_config").is_object();
  NemoMel features(transformers ? transformers_mel(model_dir) : nemo_mel(config));
  Pieces own = read_pieces(model_dir, config, vocab_size);
  if (own.pieces.size() > static_cast<size_t>(vocab_size)) {
    throw Error(ErrorKind::bad_model,
                fmt::format("[{}] has {} tokens, more than vocab_size {}", own.place, own.pieces.size(), vocab_size));
  }
  return std::make_shared<const CanaryVocabulary>(own.pieces, canary_languages(config), std::move(features), own.place);
}

std::vector<float> CanaryVocabulary::features(std::span<const float> samples) const { return features_(samples); }

std::string CanaryVocabulary::spoken(const TranscribeOptions& options) const {
  if (const auto found = find_language(options.language)) return std::string(language_code(*found));
  return language_tokens_.count("en") != 0 ? "en" : languages_.front();
}

std::vector<int32_t> CanaryVocabulary::prompt(const TranscribeOptions& options) const {
  const std::string from = spoken(options);
  const auto named = find_language(options.to_language);
  const std::string to = named ? std::string(language_code(*named)) : options.translate ? "en" : from;
  std::vector<int32_t> ids = begin_;
  for (const std::string& code : {from, to}) {
    const auto found = language_tokens_.find(code);
    if (found == language_tokens_.end()) {
      throw Error(ErrorKind::invalid, fmt::format("the model does not support language '{}'", code));
    }
    ids.push_back(found->second);
  }
  ids.push_back(options.itn ? punctuation_ : no_punctuation_);
  ids.insert(ids.end(), rest_.begin(), rest_.end());
  return ids;
}

std::string CanaryVocabulary::decode(std::span<const int32_t> tokens) const {
  std::string text;
  for (const int32_t id : tokens) {
    if (id >= 0 && static_cast<size_t>(id) < texts_.size()) text += texts_[static_cast<size_t>(id)];
  }
  return text;
}

}  // namespace mlxk
