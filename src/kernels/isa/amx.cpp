#define MLXK_ISA amx
#define MLXK_KERNELS kernels_amx
#define MLXK_TILES
#include "kernels/isa/simd_avx512.h"
#include "kernels/isa/tiles_amx.h"
// The table is last: it uses what the others declare.
#include "kernels/isa/table.inc"
