#include "tokenizer/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/side_file.h"
#include "tokenizer/rust_tokenizer.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/tekken.h"
#include "tokenizer/tiktoken.h"

namespace mlxk {

RustTokenizer::RustTokenizer(std::string_view tokenizer_json, TokenizerConfig config, std::string place)
    : config_(std::move(config)), place_(std::move(place)) {
  mlxk_tokenizer* raw = nullptr;
  RustText error;
  const int status = mlxk_tokenizer_from_json(tokenizer_json.data(), tokenizer_json.size(), &raw, error.out());
  check_rust(status, error, ErrorKind::bad_model, place_);
  handle_.reset(raw);

  if (!config_.added_tokens.empty()) {
    const std::string tokens = config_.added_tokens.dump(-1, ' ', false, Json::error_handler_t::replace);
    RustText add_error;
    const int added = mlxk_tokenizer_add_tokens(raw, tokens.data(), tokens.size(), add_error.out());
    check_rust(added, add_error, ErrorKind::bad_model, place_);
    config_.added_tokens = Json::array();
  }
  repair_mistral_split();
  set_bos_eos_processor();

  vocab_size_ = mlxk_tokenizer_vocab_size(raw);
  eos_token_ids_ = config_.eos_token_ids;
  const auto eos = token_to_id(config_.eos_token);
  if (eos && std::find(eos_token_ids_.begin(), eos_token_ids_.end(), *eos) == eos_token_ids_.end()) {
    eos_token_ids_.push_back(*eos);
  }
}

std::vector<int32_t> RustTokenizer::encode(std::string_view text, bool add_special_tokens, size_t max_tokens) const {
  int32_t* ids = nullptr;
  size_t count = 0;
  RustText error;
  RustStop stop;
  const int status = mlxk_tokenizer_encode(handle(), text.data(), text.size(), add_special_tokens, max_tokens,
                                           stop.get(), &ids, &count, error.out());
  stop.rethrow();
  if (status == MLXK_TOO_LONG) throw TextTooLong(error.str());
  check_rust(status, error, ErrorKind::bad_model, place_);
  std::vector<int32_t> result(ids, ids + count);
  mlxk_ids_free(ids, count);
  return result;
}

std::string RustTokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  RustText text, error;
  const int status =
      mlxk_tokenizer_decode(handle(), ids.data(), ids.size(), skip_special_tokens, text.out(), error.out());
  check_rust(status, error, ErrorKind::bad_model, place_);
  return text.str();
}

std::optional<int32_t> RustTokenizer::token_to_id(std::string_view token) const {
  if (token.empty()) return std::nullopt;
  const int64_t id = mlxk_tokenizer_token_to_id(handle(), token.data(), token.size());
  return id < 0 ? std::nullopt : std::optional(static_cast<int32_t>(id));
}

std::optional<std::string> RustTokenizer::id_to_token(int32_t id) const {
  RustText text;
  return mlxk_tokenizer_id_to_token(handle(), id, text.out()) ? std::optional(text.str()) : std::nullopt;
}

std::string RustTokenizer::token_bytes(int32_t id) const {
  RustText text;
  mlxk_tokenizer_token_bytes(handle(), id, text.out());
  return text.str();
}

bool RustTokenizer::is_special(int32_t id) const { return mlxk_tokenizer_is_special(handle(), id) != 0; }

const RustTokenizer& rust_tokenizer(const Tokenizer& tokenizer) {
  const auto* rust = dynamic_cast<const RustTokenizer*>(&tokenizer);
  if (!rust) throw Error(ErrorKind::internal, "[tokenizer] only a tokenizer from Tokenizer::load can do this");
  return *rust;
}

std::shared_ptr<const Tokenizer> Tokenizer::from_json(std::string_view tokenizer_json, const Json& tokenizer_config,
                                                      std::string_view place) {
  return std::make_shared<RustTokenizer>(tokenizer_json, TokenizerConfig::parse(tokenizer_config), std::string(place));
}

std::shared_ptr<const Tokenizer> Tokenizer::load(const fs::path& model_dir) {
  TokenizerConfig config = TokenizerConfig::read(model_dir);
  if (const fs::path path = model_dir / "tokenizer.json"; fs::exists(path)) {
    return std::make_shared<RustTokenizer>(read_file(path), std::move(config), path.string());
  }
  if (const fs::path path = model_dir / "tekken.json"; fs::exists(path)) {
    const std::string json = tokenizer_json_from_tekken(read_file(path), path, config);
    return std::make_shared<RustTokenizer>(json, std::move(config), path.string());
  }
  std::vector<fs::path> others;
  if (fs::is_directory(model_dir)) {
    for (const auto& entry : fs::directory_iterator(model_dir)) {
      const bool side = is_side_file(entry.path().filename().string());
      if (entry.path().extension() == ".tiktoken" && !side) others.push_back(entry.path());
    }
  }
  std::sort(others.begin(), others.end());
  others.insert(others.begin(), {model_dir / "tokenizer.model", model_dir / "tiktoken.model"});
  for (const fs::path& path : others) {
    if (!fs::exists(path)) continue;
    const std::string content = read_file(path);
    // Llama 3's tokenizer.model is a tiktoken file.
    const std::string json = looks_like_tiktoken(content) ? tokenizer_json_from_tiktoken(content, path, config)
                                                          : tokenizer_json_from_sentencepiece(content, path, config);
    return std::make_shared<RustTokenizer>(json, std::move(config), path.string());
  }
  throw Error(ErrorKind::not_found,
              fmt::format("[{}] no tokenizer.json, tekken.json, tokenizer.model or *.tiktoken", model_dir.string()));
}

}  // namespace mlxk
