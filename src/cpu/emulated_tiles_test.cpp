// The table of the kernels that work on tiles, which few machines have: tables_test.cpp runs it everywhere.
#define MLXK_ISA emulated_tiles
#define MLXK_KERNELS kernels_emulated_tiles
#define MLXK_TILES
#include "cpu/isa/simd_generic.h"
#include "cpu/isa/tiles_emulated.h"
// The table is last: it uses what the others declare.
#include "cpu/isa/table.inc"
