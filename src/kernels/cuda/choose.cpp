#include <algorithm>

#include "kernels/cuda/counters.h"
#include "kernels/cuda/cuda_op.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/functions.h"

namespace mlxk {
namespace {

// As in choose.cu.
struct ArgmaxParams {
  const void* logits;
  void* tokens;
  void* parts;
  void* arrived;
  int columns;
};

}  // namespace

mx::array cuda_argmax(const mx::array& logits) {
  auto compute = [](CudaLaunches& launches, const Arrays& in, Arrays& out) {
    const int rows = in[0].shape(0), columns = in[0].shape(1);
    if (rows == 0) return;
    const int blocks = std::clamp(columns / 4096, 1, 32);
    const mx::array parts = launches.scratch(static_cast<size_t>(rows) * blocks * sizeof(uint64_t));
    const mx::array& arrived = cuda_counters(rows);
    const ArgmaxParams p{cuda_data(in[0]), cuda_data(out[0]), cuda_data(parts), cuda_data(arrived), columns};
    const dim3 grid{static_cast<unsigned>(blocks), static_cast<unsigned>(rows)};
    launches.launch(cuda_function({cuda_source::common, cuda_source::choose}, "argmax", {}), grid, 512, 0, p, {in[0]},
                    {out[0], arrived});
  };
  return mx::array({logits.shape(0), 1}, mx::int32, cuda_op("CudaArgmax", std::move(compute), true),
                   {row_contiguous(logits)});
}

}  // namespace mlxk
