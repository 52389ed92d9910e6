#pragma once

#include <optional>
#include <string>
#include <vector>

#include "gguf/gguf.h"
#include "json/json.h"

namespace mlxk {

/// A vocabulary rebuilt from GGUF metadata.
struct GgufTokenizer {
  std::string tokenizer_json;  // in the format of the tokenizers library
  Json tokenizer_config;       // with chat_template if the file has one
  std::optional<int64_t> bos, pad;
  std::vector<int64_t> eos;  // the end of text and of a turn; may be empty
  int64_t size = 0;          // tokens
};

/// Reads the tokenizer.* keys; data that could not be kept is added to `warnings`. Throws bad_model naming key and
/// index, unsupported for a kind other than byte-level BPE ("gpt2") and SentencePiece BPE ("llama").
GgufTokenizer read_gguf_tokenizer(const GgufFile& file, std::vector<std::string>& warnings);

}  // namespace mlxk
