#define MLXK_ISA neon
#define MLXK_KERNELS kernels_neon
#include "cpu/isa/simd_neon.h"
#include "cpu/isa/table.inc"
