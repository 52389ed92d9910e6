#include "tokenizer/tokenizer_config.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "json/member.h"

namespace mlxk {

namespace fs = std::filesystem;

namespace {

/// A special token: a string, or an AddedToken object.
std::string token_of(const Json& config, const char* key) {
  const Json& value = value_at(config, key);
  return value.is_object() ? string_at(value, "content") : string_at(config, key);
}

std::optional<bool> flag_of(const Json& config, const char* key) {
  const Json& value = value_at(config, key);
  return value.is_boolean() ? std::optional(value.get<bool>()) : std::nullopt;
}

Json added_tokens_of(const Json& config) {
  std::vector<Json> tokens;
  const Json& decoder = value_at(config, "added_tokens_decoder");
  if (!decoder.is_object()) return Json::array();
  for (const auto& [key, value] : decoder.items()) {
    int32_t id = -1;
    const auto [end, code] = std::from_chars(key.data(), key.data() + key.size(), id);
    const bool number = code == std::errc() && end == key.data() + key.size() && id >= 0;
    if (!number || string_at(value, "content").empty()) {
      throw Error(ErrorKind::bad_model, "[tokenizer_config.json] added_tokens_decoder: bad entry '" + key + "'");
    }
    Json token = value;
    token["id"] = id;
    tokens.push_back(std::move(token));
  }
  std::stable_sort(tokens.begin(), tokens.end(),
                   [](const Json& a, const Json& b) { return a["id"].get<int32_t>() < b["id"].get<int32_t>(); });
  return Json(std::move(tokens));
}

std::vector<int32_t> ids_of(const Json& config, const fs::path& path) {
  std::vector<int32_t> ids;
  const Json& value = value_at(config, "eos_token_id");
  if (value.is_null()) return ids;
  for (const Json& id : value.is_array() ? value : Json::array({value})) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > INT32_MAX) {
      throw Error(ErrorKind::bad_model, "[" + path.string() + "] eos_token_id: not a token id: " + id.dump());
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

Json read_if_there(const fs::path& path) { return fs::exists(path) ? read_json(path) : Json::object(); }

}  // namespace

TokenizerConfig TokenizerConfig::parse(const Json& config) {
  TokenizerConfig result;
  result.bos_token = token_of(config, "bos_token");
  result.eos_token = token_of(config, "eos_token");
  result.pad_token = token_of(config, "pad_token");
  result.unk_token = token_of(config, "unk_token");
  result.add_bos_token = flag_of(config, "add_bos_token");
  result.add_eos_token = flag_of(config, "add_eos_token");
  result.legacy = flag_of(config, "legacy").value_or(true);
  result.added_tokens = added_tokens_of(config);
  result.tokenizer_class = string_at(config, "tokenizer_class");
  return result;
}

TokenizerConfig TokenizerConfig::read(const fs::path& model_dir) {
  TokenizerConfig result = parse(read_if_there(model_dir / "tokenizer_config.json"));
  // Older folders name the special tokens in a separate file.
  const Json special = read_if_there(model_dir / "special_tokens_map.json");
  if (result.bos_token.empty()) result.bos_token = token_of(special, "bos_token");
  if (result.eos_token.empty()) result.eos_token = token_of(special, "eos_token");
  if (result.pad_token.empty()) result.pad_token = token_of(special, "pad_token");
  if (result.unk_token.empty()) result.unk_token = token_of(special, "unk_token");
  const fs::path config_path = model_dir / "config.json";
  const Json config = read_if_there(config_path);
  result.model_type = string_at(config, "model_type");
  result.transformers_version = string_at(config, "transformers_version");

  const fs::path generation = model_dir / "generation_config.json";
  result.eos_token_ids = ids_of(read_if_there(generation), generation);
  if (result.eos_token_ids.empty()) result.eos_token_ids = ids_of(config, config_path);
  if (result.eos_token_ids.empty()) result.eos_token_ids = ids_of(value_at(config, "text_config"), config_path);
  return result;
}

}  // namespace mlxk
