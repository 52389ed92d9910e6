#define MLXK_ISA avx512
#define MLXK_KERNELS kernels_avx512
#include "kernels/isa/simd_avx512.h"
#include "kernels/isa/table.inc"
