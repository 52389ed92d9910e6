#pragma once

#include "kernels/cpu/ops.h"
#include "mlx/array.h"

namespace mlxk {

/// Rows `ids` [...] int32 of `table`: [..., columns] float32 on the CPU. An id outside the table gives a row of NaN.
/// One operation; throws as matrix_view does.
mx::array cpu_lookup(const mx::array& ids, const MatrixWeights& table);

}  // namespace mlxk
