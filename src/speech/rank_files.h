#pragma once

#include <string_view>

namespace mlxk {

/// openai-whisper's tiktoken files for the multilingual and the English-only models.
std::string_view multilingual_ranks();
std::string_view english_ranks();

}  // namespace mlxk
