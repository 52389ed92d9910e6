#define MLXK_ISA avx512vnni
#define MLXK_KERNELS kernels_avx512vnni
#include "kernels/isa/simd_avx512.h"
#include "kernels/isa/table.inc"
