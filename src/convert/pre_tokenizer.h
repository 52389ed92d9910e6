#pragma once

#include <string_view>

#include "json/json.h"

namespace mlxk {

/// How a byte-level BPE vocabulary splits text before merging, by GGUF's name for it (tokenizer.ggml.pre).
struct PreTokenizer {
  Json pre_tokenizer;          // of tokenizer.json
  bool nfc = false;            // text is normalised first
  bool ignore_merges = false;  // a word that is in the vocabulary is one token at once
  bool adds_bos = false;       // unless the file says otherwise
};

/// The row for `name`; throws unsupported listing the known names.
PreTokenizer find_pre_tokenizer(std::string_view name);

}  // namespace mlxk
