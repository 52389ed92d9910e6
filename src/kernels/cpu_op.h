#pragma once

#include <functional>
#include <memory>

#include "cpu/scratch.h"
#include "kernels/aliases.h"
#include "mlx/array.h"
#include "mlx/primitives.h"

namespace mlxk {

namespace mx = mlx::core;

/// Whether graphs are built for the CPU, where our operations replace chains of libmlx's.
bool cpu_is_default();

/// Computes outputs (allocated) from inputs, on libmlx's CPU thread.
using Compute = std::function<void(const Arrays& inputs, Arrays& outputs)>;

/// An operation of the graph that is one function over buffers. The function must hold everything it refers to by
/// value.
std::shared_ptr<mx::Primitive> cpu_op(const char* name, Compute compute, Aliases aliases = {});

/// The elements of a float32 array in row-major order: in place, or copied to `storage` if they are strided.
const float* row_major(const mx::array& a, Scratch& storage);
/// The same for an int32 array.
const int32_t* row_major_int(const mx::array& a, Scratch& storage);

}  // namespace mlxk
