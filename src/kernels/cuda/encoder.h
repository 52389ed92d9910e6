#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "mlx/array.h"
#include "mlx/stream.h"

/// libmlx's CUDA command encoder, as far as its library exports it: an operation's kernels become nodes of the graph
/// that libmlx launches. It is looked up at run time, so that one build runs with and without CUDA and needs no
/// toolkit.

struct CUfunc_st;

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

namespace mlx::core::cu {
class CommandEncoder;

/// The type that mx::array's buffers point to on CUDA.
struct CudaBuffer {
  void* data;
  size_t size;
  int device;  // -1: the host can access it too
};
}  // namespace mlx::core::cu

namespace mlxk {

namespace mx = mlx::core;

struct CudaEncoder {
  using Encoder = mx::cu::CommandEncoder;

  /// The encoder of a stream of this thread.
  Encoder& (*of)(mx::Stream stream);
  /// The next node runs after the writers of this array.
  void (*set_input)(Encoder& encoder, const mx::array& a);
  /// The next node runs after the writers of this array, and writes it.
  void (*set_output)(Encoder& encoder, const mx::array& a);
  /// Adds a launch; the parameters are copied.
  void (*add_kernel)(Encoder& encoder, CUfunc_st* function, dim3 grid, dim3 block, dim3 cluster, uint32_t shared_bytes,
                     void** params);
  /// `task` runs on another thread once everything added so far is done.
  void (*when_completed)(Encoder& encoder, std::function<void()> task);
  /// Launches everything added so far.
  void (*commit)(Encoder& encoder);
};

/// The functions of the loaded libmlx; throws Error(internal) if it has none.
const CudaEncoder& cuda_encoder();

/// The CUDA stream of an encoder, for launches that are not nodes of its graph. If the graph has nodes, null, or with
/// `commit` the graph is launched first. Null if libmlx is a version whose memory layout is not known here.
void* cuda_stream(CudaEncoder::Encoder& encoder, bool commit);

}  // namespace mlxk
