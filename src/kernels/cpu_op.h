#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kernels/matmul.h"
#include "mlx/array.h"
#include "mlx/primitives.h"

namespace mlxk {

namespace mx = mlx::core;

/// Whether graphs are built for the CPU, where our operations replace chains of libmlx's.
bool cpu_is_default();

using Arrays = std::vector<mx::array>;
/// Computes outputs (allocated) from inputs, on libmlx's CPU thread.
using Compute = std::function<void(const Arrays& inputs, Arrays& outputs)>;

/// An operation of the graph that is one function over buffers. What it refers to, it must hold by value.
std::shared_ptr<mx::Primitive> cpu_op(const char* name, Compute compute);

/// The elements of a float32 array in row-major order: in place, or copied to `storage` where they lie otherwise.
const float* row_major(const mx::array& a, Scratch& storage);

}  // namespace mlxk
