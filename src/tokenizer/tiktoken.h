#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer_config.h"

namespace mlxk {

/// A byte sequence of a vocabulary; the lower the rank, the earlier it is merged.
struct BytesRank {
  std::string bytes;
  uint32_t rank;
};

/// The text of a tokenizer.json of byte-level BPE, whose texts are split by the regex `pattern`. A sequence's id is its
/// rank plus `first_id`; `specials` are AddedToken objects with ids below that.
std::string tokenizer_json_of_ranks(std::vector<BytesRank> ranks, const std::string& pattern, uint32_t first_id = 0,
                                    const Json& specials = Json::array());

/// Whether the content begins like a tiktoken file: base64, a space, a rank.
bool looks_like_tiktoken(std::string_view content);

/// A tiktoken file (ranks of byte sequences) as the text of an equivalent tokenizer.json; the split pattern and the
/// special tokens belong to the family that the file's name or `config` indicates. Throws bad_model or unsupported
/// naming `path`.
std::string tokenizer_json_from_tiktoken(std::string_view content, const std::filesystem::path& path,
                                         TokenizerConfig& config);

}  // namespace mlxk
