#define MLXK_ISA avx2
#define MLXK_KERNELS kernels_avx2
#include "cpu/isa/simd_avx2.h"
#include "cpu/isa/table.inc"
