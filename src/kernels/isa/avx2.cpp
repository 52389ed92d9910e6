#define MLXK_ISA avx2
#define MLXK_KERNELS kernels_avx2
#include "kernels/isa/simd_avx2.h"
#include "kernels/isa/table.inc"
