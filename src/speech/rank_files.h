#pragma once

#include <string_view>

namespace mlxk {

/// openai-whisper's tiktoken files of the multilingual models and of those of English alone.
std::string_view multilingual_ranks();
std::string_view english_ranks();

}  // namespace mlxk
