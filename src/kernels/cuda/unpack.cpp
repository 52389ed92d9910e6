#include "kernels/cuda/cuda_op.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/functions.h"
#include "kernels/cuda/launch_plan.h"

namespace mlxk {
namespace {

// As in unpack.cu.
struct UnpackParams {
  const void* ids;
  const void* weight;
  const void* scales;
  const void* biases;
  void* y;
  int rows, columns;
};

/// Inputs: weight, scales, then biases if there are any, then ids if there are any.
mx::array unpack(const MatrixWeights& m, const std::optional<mx::array>& ids, mx::Shape shape, mx::Dtype type) {
  Arrays inputs{row_contiguous(m.weight), row_contiguous(*m.scales)};
  if (m.biases) inputs.push_back(row_contiguous(*m.biases));
  if (ids) inputs.push_back(row_contiguous(*ids));
  const int scales = m.biases ? cuda_type(m.scales->dtype()) : 2;
  const CudaPacking packing{m.bits, m.group, !m.biases, scales, m.columns};
  auto compute = [packing, all = m.rows, by_ids = ids.has_value()](CudaLaunches& launches, const Arrays& in,
                                                                   Arrays& out) {
    const unsigned rows =
        packing.columns == 0 ? 0 : static_cast<unsigned>(out[0].size() / static_cast<size_t>(packing.columns));
    if (rows == 0) return;
    const UnpackParams p{by_ids ? cuda_data(in.back()) : nullptr,
                         cuda_data(in[0]),
                         cuda_data(in[1]),
                         packing.mx ? nullptr : cuda_data(in[2]),
                         cuda_data(out[0]),
                         all,
                         packing.columns};
    auto defines = packing.defines();
    defines.emplace_back("TYPE", cuda_type(out[0].dtype()));
    auto* function =
        cuda_function({cuda_source::common, cuda_source::packed, cuda_source::unpack}, "unpack_rows", defines);
    launches.launch(function, {rows}, 256, 0, p, {in.begin(), in.end()}, {out[0]});
  };
  return mx::array(std::move(shape), type, cuda_op("CudaUnpack", std::move(compute)), std::move(inputs));
}

}  // namespace

mx::array cuda_lookup(const mx::array& ids, const MatrixWeights& table, mx::Dtype type) {
  mx::Shape shape = ids.shape();
  shape.push_back(table.columns);
  return unpack(table, ids, std::move(shape), type);
}

mx::array cuda_unpacked(const MatrixWeights& matrix, mx::Dtype type) {
  return unpack(matrix, std::nullopt, {matrix.rows, matrix.columns}, type);
}

}  // namespace mlxk
