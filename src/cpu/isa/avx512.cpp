#define MLXK_ISA avx512
#define MLXK_KERNELS kernels_avx512
#include "cpu/isa/simd_avx512.h"
#include "cpu/isa/table.inc"
