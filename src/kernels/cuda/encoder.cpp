#include "kernels/cuda/encoder.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "base/error.h"

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
          "_ZN3mlx4core2cu14CommandEncoder21add_completed_handlerESt8functionIFvvEE")};
  return encoder;
}

}  // namespace mlxk
