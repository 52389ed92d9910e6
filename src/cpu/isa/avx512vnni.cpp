#define MLXK_ISA avx512vnni
#define MLXK_KERNELS kernels_avx512vnni
#include "cpu/isa/simd_avx512.h"
#include "cpu/isa/table.inc"
