#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "json/json.h"

namespace mlxk {

/// The content of the files beside a vocabulary: tokenizer_config.json, config.json, generation_config.json.
struct TokenizerConfig {
  std::string bos_token, eos_token, pad_token, unk_token;  // empty: none
  std::optional<bool> add_bos_token, add_eos_token;
  bool legacy = true;                 // SentencePiece: a space before every piece of text, not only the first
  Json added_tokens = Json::array();  // AddedToken objects with "id", in order
  std::string tokenizer_class;
  std::string model_type;
  std::string transformers_version;
  std::vector<int32_t> eos_token_ids;  // generation_config.json, else config.json

  /// Reads the files present in `model_dir`; throws bad_model or io naming the file.
  static TokenizerConfig read(const std::filesystem::path& model_dir);
  /// From a tokenizer_config.json alone.
  static TokenizerConfig parse(const Json& tokenizer_config);
};

}  // namespace mlxk
