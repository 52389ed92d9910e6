#include "speech/rank_files.h"

#include <cstddef>

#include "base/embedded_file.h"

MLXK_EMBED(mlxk_multilingual_ranks, MLXK_RANK_FILES "/multilingual.tiktoken");
MLXK_EMBED(mlxk_english_ranks, MLXK_RANK_FILES "/gpt2.tiktoken");

namespace mlxk {

std::string_view multilingual_ranks() {
  return {mlxk_multilingual_ranks_begin,
          static_cast<size_t>(mlxk_multilingual_ranks_end - mlxk_multilingual_ranks_begin)};
}

std::string_view english_ranks() {
  return {mlxk_english_ranks_begin, static_cast<size_t>(mlxk_english_ranks_end - mlxk_english_ranks_begin)};
}

}  // namespace mlxk
