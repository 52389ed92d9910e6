#pragma once

/// MLXK_EMBED(name, path) embeds the bytes of the file `path` (a string literal) in the program, between `name`_begin
/// and `name`_end. Use it in the global namespace; the build must declare the file as a dependency (OBJECT_DEPENDS).
#ifdef __APPLE__
#define MLXK_SYMBOL(name) "_" #name
#define MLXK_SECTION ".const_data\n"
#define MLXK_BACK ".text\n"
#else
#define MLXK_SYMBOL(name) #name
#define MLXK_SECTION ".pushsection .rodata\n"
#define MLXK_BACK ".popsection\n"
#endif
#define MLXK_EMBED(name, path)                                                                                   \
  __asm__(MLXK_SECTION ".globl " MLXK_SYMBOL(name##_begin) "\n.globl " MLXK_SYMBOL(name##_end) "\n" MLXK_SYMBOL( \
      name##_begin) ":\n.incbin \"" path "\"\n" MLXK_SYMBOL(name##_end) ":\n" MLXK_BACK);                        \
  extern "C" const char name##_begin[], name##_end[]
