#define MLXK_ISA neon
#define MLXK_KERNELS kernels_neon
#include "kernels/isa/simd_neon.h"
#include "kernels/isa/table.inc"
