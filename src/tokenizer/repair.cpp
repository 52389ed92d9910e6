// The changes that transformers makes to a tokenizer.json after reading it.
#include <array>
#include <charconv>

#include "tokenizer/rust_tokenizer.h"

namespace mlxk {

namespace {

// Tekken's own split: no contractions, single digits, words split where the case rises.
constexpr const char* kTekkenSplit = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
                                     R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|)"
                                     R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// `4.51.0.dev0` → {4, 51, 0}; zeros for missing parts.
std::array<int, 3> version_of(const std::string& text) {
  std::array<int, 3> parts{};
  const char* at = text.data();
  const char* end = at + text.size();
  for (int& part : parts) {
    const auto result = std::from_chars(at, end, part);
    if (result.ec != std::errc() || result.ptr == end || *result.ptr != '.') break;
    at = result.ptr + 1;
  }
  return parts;
}

Json part_of(int (*get)(const mlxk_tokenizer*, mlxk_text*, mlxk_text*), const RustTokenizer& tokenizer) {
  RustText text, error;
  check_rust(get(tokenizer.handle(), text.out(), error.out()), error, ErrorKind::bad_model, tokenizer.place());
  return parse_json(text.str(), tokenizer.place());
}

}  // namespace

// Mistral's Tekken tokenizers were exported with Llama 3's split pattern by transformers 4.39.0 to 4.57.2.
void RustTokenizer::repair_mistral_split() {
  const std::string& type = config_.model_type;
  const auto version = version_of(config_.transformers_version);
  const bool affected = version >= std::array{4, 39, 0} && version <= std::array{4, 57, 2};
  if (!affected || (type != "mistral" && type != "mistral3" && type != "llama")) return;
  // Llama 3 itself rightly has this pattern: the vocabulary distinguishes them.
  if (!token_to_id("[INST]") || !token_to_id("[/INST]")) return;
  Json pre = part_of(mlxk_tokenizer_pre_tokenizer, *this);
  if (!pre.is_object() || pre.value("type", "") != "Sequence") return;
  Json& parts = pre["pretokenizers"];
  if (!parts.is_array() || parts.empty() || parts[0].value("type", "") != "Split") return;
  parts[0] = {{"type", "Split"}, {"pattern", {{"Regex", kTekkenSplit}}}, {"behavior", "Isolated"}, {"invert", false}};
  const std::string json = pre.dump();
  RustText error;
  check_rust(mlxk_tokenizer_set_pre_tokenizer(handle_.get(), json.data(), json.size(), error.out()), error,
             ErrorKind::bad_model, place_);
}

// add_bos_token and add_eos_token, if given, replace the tokens of the file's post-processor.
void RustTokenizer::set_bos_eos_processor() {
  if (!config_.add_bos_token && !config_.add_eos_token) return;
  Json single = Json::array(), specials = Json::object();
  const auto add = [&](const std::string& token) {
    const auto id = token_to_id(token);
    if (!id) return;
    single.push_back({{"SpecialToken", {{"id", token}, {"type_id", 0}}}});
    specials[token] = {{"id", token}, {"ids", {*id}}, {"tokens", {token}}};
  };
  const Json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  if (config_.add_bos_token.value_or(false)) add(config_.bos_token);
  single.push_back(text);
  if (config_.add_eos_token.value_or(false)) add(config_.eos_token);
  const Json pair = Json::array({text, {{"Sequence", {{"id", "B"}, {"type_id", 1}}}}});
  const Json processor = {
      {"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", specials}};
  const std::string json = processor.dump(-1, ' ', false, Json::error_handler_t::replace);
  RustText error;
  check_rust(mlxk_tokenizer_set_post_processor(handle_.get(), json.data(), json.size(), error.out()), error,
             ErrorKind::bad_model, place_);
}

}  // namespace mlxk
