#include "speech/rank_files.h"

#ifdef __APPLE__
#define MLXK_SYMBOL(name) "_" #name
#define MLXK_SECTION ".const_data\n"
#define MLXK_BACK ".text\n"
#else
#define MLXK_SYMBOL(name) #name
#define MLXK_SECTION ".pushsection .rodata\n"
#define MLXK_BACK ".popsection\n"
#endif
#define MLXK_EMBED(name, file)                                                                                   \
  __asm__(MLXK_SECTION ".globl " MLXK_SYMBOL(name##_begin) "\n.globl " MLXK_SYMBOL(name##_end) "\n" MLXK_SYMBOL( \
      name##_begin) ":\n.incbin \"" MLXK_RANK_FILES "/" file "\"\n" MLXK_SYMBOL(name##_end) ":\n" MLXK_BACK);    \
  extern "C" const char name##_begin[], name##_end[]

MLXK_EMBED(mlxk_multilingual_ranks, "multilingual.tiktoken");
MLXK_EMBED(mlxk_english_ranks, "gpt2.tiktoken");

namespace mlxk {

std::string_view multilingual_ranks() {
  return {mlxk_multilingual_ranks_begin,
          static_cast<size_t>(mlxk_multilingual_ranks_end - mlxk_multilingual_ranks_begin)};
}

std::string_view english_ranks() {
  return {mlxk_english_ranks_begin, static_cast<size_t>(mlxk_english_ranks_end - mlxk_english_ranks_begin)};
}

}  // namespace mlxk
