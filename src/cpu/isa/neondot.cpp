#define MLXK_ISA neondot
#define MLXK_KERNELS kernels_neondot
#include "cpu/isa/simd_neon.h"
#include "cpu/isa/table.inc"
