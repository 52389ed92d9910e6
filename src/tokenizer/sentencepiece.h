#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer_config.h"

namespace mlxk {

/// A SentencePiece model (tokenizer.model: BPE or Unigram) as the text of an equivalent tokenizer.json. Sets the empty
/// names in `config` (bos, eos, pad, unk). Throws bad_model naming `path`.
std::string tokenizer_json_from_sentencepiece(std::string_view model, const std::filesystem::path& path,
                                              TokenizerConfig& config);

/// The pieces of a SentencePiece model in the order of their ids. Throws bad_model naming `path`.
std::vector<std::string> sentencepiece_pieces(std::string_view model, const std::filesystem::path& path);

}  // namespace mlxk
