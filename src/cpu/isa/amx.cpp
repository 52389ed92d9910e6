#define MLXK_ISA amx
#define MLXK_KERNELS kernels_amx
#define MLXK_TILES
#include "cpu/isa/simd_avx512.h"
#include "cpu/isa/tiles_amx.h"
// The table is last: it uses what the others declare.
#include "cpu/isa/table.inc"
