#define MLXK_ISA generic
#define MLXK_KERNELS kernels_generic
#include "cpu/isa/simd_generic.h"
#include "cpu/isa/table.inc"
