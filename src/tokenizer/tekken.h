#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "tokenizer/tokenizer_config.h"

namespace mlxk {

/// Converts Mistral's tekken.json to the text of an equivalent tokenizer.json: special tokens first, then byte
/// sequences. Sets the special tokens of `config` that its files leave out. Throws bad_model naming `path` and key.
std::string tokenizer_json_from_tekken(std::string_view content, const std::filesystem::path& path,
                                       TokenizerConfig& config);

}  // namespace mlxk
