#define MLXK_ISA generic
#define MLXK_KERNELS kernels_generic
#include "kernels/isa/simd_generic.h"
#include "kernels/isa/table.inc"
