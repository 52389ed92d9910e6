#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "tokenizer/tokenizer_config.h"

namespace mlxk {

/// Whether the content begins like a tiktoken file: base64, a space, a rank.
bool looks_like_tiktoken(std::string_view content);

/// A tiktoken file (ranks of byte sequences) as the text of an equivalent tokenizer.json; the split pattern and the
/// special tokens belong to the family that the file's name or `config` indicates. Throws bad_model or unsupported
/// naming `path`.
std::string tokenizer_json_from_tiktoken(std::string_view content, const std::filesystem::path& path,
                                         TokenizerConfig& config);

}  // namespace mlxk
