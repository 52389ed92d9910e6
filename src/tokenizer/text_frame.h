#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace mlxk {

/// The special tokens around a text, or around a pair of texts, that a tokenizer's post-processor adds.
struct TextFrame {
  std::vector<int32_t> before, between, behind;  // `between`: for a pair
  bool marks_second = false;                     // the second text's tokens have the type 1
  size_t size() const { return before.size() + between.size() + behind.size(); }
};

/// The frame of one text, or of two. Throws bad_model if the post-processor leaves a text out or repeats it.
TextFrame text_frame(const Tokenizer& tokenizer, bool pair);

/// `text` in lower case, by Unicode's rules.
std::string lower_case_text(std::string_view text);

}  // namespace mlxk
