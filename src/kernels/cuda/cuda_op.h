#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kernels/aliases.h"
#include "kernels/cuda/encoder.h"
#include "mlx/array.h"
#include "mlx/primitives.h"

namespace mlxk {

namespace mx = mlx::core;

using ArrayRefs = std::vector<std::reference_wrapper<const mx::array>>;

/// The address of an array's elements on the device.
void* cuda_data(const mx::array& a);
/// The number of a float type in the kernels' sources (F32, F16, BF16), -1 for another type.
int cuda_type(mx::Dtype type);

/// Whether an operation's launches overlap (cuda_launch) or are nodes of libmlx's graph. Overlapping is faster for long
/// launches of one or two rows; the graph for more rows, and for short launches, which the host cannot make fast
/// enough.
enum class CudaOverlap {
  no,
  follow,  // if the graph is empty
  yes,     // the graph is launched first
};

/// The launches of one operation, on its stream.
class CudaLaunches {
 public:
  CudaLaunches(mx::Stream stream, CudaOverlap overlap);

  /// Launches a kernel whose one parameter is `params`. It runs after the writers of `reads` and `writes`, and before
  /// later readers of those.
  template <class Params>
  void launch(CUfunc_st* function, dim3 grid, unsigned threads, int shared_bytes, Params params, const ArrayRefs& reads,
              const ArrayRefs& writes) {
    void* pointers[] = {&params};
    add(function, grid, threads, shared_bytes, pointers, reads, writes);
  }
  /// Memory that lives until the operation is done.
  mx::array scratch(size_t bytes);
  mx::array scratch(mx::Shape shape, mx::Dtype type);

 private:
  void add(CUfunc_st* function, dim3 grid, unsigned threads, int shared_bytes, void** params, const ArrayRefs& reads,
           const ArrayRefs& writes);

  mx::cu::CommandEncoder& encoder_;
  void* overlapped_;  // the stream; null: the graph
};

/// Launches the kernels that compute outputs (allocated) from inputs (row-contiguous).
using CudaCompute = std::function<void(CudaLaunches& launches, const Arrays& inputs, Arrays& outputs)>;

/// An operation of the graph that is a few launches on libmlx's stream. It must hold everything it refers to by value.
/// `on_host`: the outputs are in memory that the host reads without a copy.
std::shared_ptr<mx::Primitive> cuda_op(const char* name, CudaCompute compute, bool on_host = false);
/// The same with a preference for operations of one or two rows.
std::shared_ptr<mx::Primitive> cuda_op(const char* name, CudaCompute compute, CudaOverlap overlap);
/// The same with outputs that are buffers of inputs.
std::shared_ptr<mx::Primitive> cuda_op(const char* name, CudaCompute compute, Aliases aliases);

/// `a` as an input of such an operation: unchanged if it is certainly row-contiguous, else copied.
mx::array row_contiguous(const mx::array& a);

}  // namespace mlxk
