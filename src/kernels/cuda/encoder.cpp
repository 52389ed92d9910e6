#include "kernels/cuda/encoder.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/error.h"
#include "mlx/version.h"

namespace mlxk {
namespace {

/// Members are called as functions whose first argument is the object, as in the Itanium ABI.
template <class F>
F exported(const char* symbol) {
  void* found = dlsym(RTLD_DEFAULT, symbol);
  if (!found) throw Error(ErrorKind::internal, fmt::format("[cuda] libmlx does not export {}", symbol));
  return reinterpret_cast<F>(found);
}

}  // namespace

const CudaEncoder& cuda_encoder() {
  static const CudaEncoder encoder{
      exported<decltype(CudaEncoder::of)>("_ZN3mlx4core2cu19get_command_encoderENS0_6StreamE"),
      exported<decltype(CudaEncoder::set_input)>("_ZN3mlx4core2cu14CommandEncoder15set_input_arrayERKNS0_5arrayE"),
      exported<decltype(CudaEncoder::set_output)>("_ZN3mlx4core2cu14CommandEncoder16set_output_arrayERKNS0_5arrayE"),
      exported<decltype(CudaEncoder::add_kernel)>(
          "_ZN3mlx4core2cu14CommandEncoder19add_kernel_node_rawEP9CUfunc_st4dim3S5_S5_jPPv"),
      exported<decltype(CudaEncoder::when_completed)>(
          "_ZN3mlx4core2cu14CommandEncoder21add_completed_handlerESt8functionIFvvEE"),
      exported<decltype(CudaEncoder::commit)>("_ZN3mlx4core2cu14CommandEncoder6commitEv")};
  return encoder;
}

void* cuda_stream(CudaEncoder::Encoder& encoder, bool commit) {
  static const bool is_known = std::strcmp(mx::version(), "0.32.4") == 0;
  if (!is_known) return nullptr;
  static const bool has_graphs = [] {
    const char* graphs = std::getenv("MLX_USE_CUDA_GRAPHS");
    return !graphs || std::strcmp(graphs, "0") != 0;
  }();
  // The encoder's first members.
  struct Members {
    void* device;
    void* stream;
    void* graph;
    std::shared_ptr<void> worker;
    int nodes;  // of the graph
  };
  const auto& members = reinterpret_cast<const Members&>(encoder);
  if (has_graphs && members.nodes > 0) {
    if (!commit) return nullptr;
    cuda_encoder().commit(encoder);
  }
  return members.stream;
}

}  // namespace mlxk
