#include "kernels/cuda/cuda_ops.h"

#include <algorithm>

#include "kernels/cuda/cuda_op.h"
#include "kernels/cuda/functions.h"
#include "kernels/cuda/products.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace mlxk {

namespace {

// As in rows.cu.
struct ActivatedParams {
  const void* gate;
  const void* up;
  void* y;
  long long size;
  int activation;
};

std::optional<CudaPacking> packing_of(const std::vector<MatrixWeights>& matrices) {
  const MatrixWeights& first = matrices.front();
  for (const MatrixWeights& m : matrices) {
    const bool same = m.columns == first.columns && m.bits == first.bits && m.group == first.group &&
                      m.biases.has_value() == first.biases.has_value() &&
                      (!m.scales || m.scales->dtype() == first.scales->dtype());
    if (!same || m.rows < 1) return std::nullopt;
  }
  if (first.bits == 0) {
    if (first.weight.dtype() != mx::bfloat16 || first.columns % 64 != 0) return std::nullopt;
    return CudaPacking{16, 64, false, 2, first.columns};
  }
  const bool mx = !first.biases && first.bits == 4 && first.group == 32 && first.scales->dtype() == mx::uint8;
  const bool affine = first.biases && (first.bits == 4 || first.bits == 8) &&
                      (first.group == 32 || first.group == 64 || first.group == 128);
  if (!mx && !affine) return std::nullopt;
  return CudaPacking{first.bits, first.group, mx, mx ? 2 : cuda_type(first.scales->dtype()), first.columns};
}

/// Launches of a product are long enough to overlap if the weights have so many bytes.
constexpr size_t kMinOverlappedBytes = 8 << 20;

CudaOverlap overlap_of(const CudaLayer& layer) {
  size_t bytes = 0;
  for (const MatrixWeights& m : layer.matrices) bytes += m.weight.nbytes();
  return bytes >= kMinOverlappedBytes ? CudaOverlap::yes : CudaOverlap::follow;
}

mx::Shape with_last(const mx::array& x, int last) {
  mx::Shape shape = x.shape();
  shape.back() = last;
  return shape;
}

}  // namespace

std::shared_ptr<const CudaLayer> cuda_layer(std::vector<MatrixWeights> matrices,
                                            const std::optional<NormWeights>& norm) {
  const auto packing = packing_of(matrices);
  if (matrices.size() > 4 || (norm && norm->centred)) return nullptr;
  if (!packing || packing->scale_type < 0 || packing->columns % std::min(packing->group, 64) != 0) return nullptr;
  if (norm && cuda_type(norm->weight.dtype()) < 0) return nullptr;
  std::vector<mx::array> arrays;
  for (MatrixWeights& m : matrices) {
    if (m.bias) m.bias = mx::astype(*m.bias, mx::float32);
    for (auto* part : {&m.scales, &m.biases, &m.bias}) {
      if (*part) arrays.push_back(** part = mx::contiguous(**part));
    }
    arrays.push_back(m.weight = mx::contiguous(m.weight));
  }
  if (norm) arrays.push_back(norm->weight);
  mx::eval(arrays);
  return std::make_shared<CudaLayer>(CudaLayer{std::move(matrices), norm, *packing});
}

std::vector<mx::array> cuda_matmuls(const mx::array& x, std::shared_ptr<const CudaLayer> layer,
                                    std::optional<mx::Dtype> type) {
  std::vector<mx::Shape> shapes;
  for (const auto& matrix : layer->matrices) shapes.push_back(with_last(x, matrix.rows));
  const std::vector<mx::Dtype> types(shapes.size(), type.value_or(x.dtype()));
  const CudaOverlap overlap = overlap_of(*layer);
  auto compute = [layer = std::move(layer)](CudaLaunches& launches, const Arrays& in, Arrays& out) {
    launch_products(launches, *layer, {}, in[0], out);
  };
  return mx::array::make_arrays(std::move(shapes), types, cuda_op("CudaMatmuls", std::move(compute), overlap),
                                {row_contiguous(x)});
}

mx::array cuda_matmul_residual(const mx::array& x, std::shared_ptr<const CudaLayer> layer, float multiplier,
                               const mx::array& residual) {
  const int rows = layer->matrices.at(0).rows;
  const CudaOverlap overlap = overlap_of(*layer);
  auto compute = [layer = std::move(layer), multiplier](CudaLaunches& launches, const Arrays& in, Arrays& out) {
    ProductStep step;
    step.multiplier = multiplier;
    step.residual = &in[1];
    launch_products(launches, *layer, step, in[0], out);
  };
  return mx::array(with_last(x, rows), x.dtype(), cuda_op("CudaMatmulResidual", std::move(compute), overlap),
                   {row_contiguous(x), row_contiguous(residual)});
}

mx::array cuda_gated(const mx::array& x, std::shared_ptr<const CudaLayer> layer, int activation) {
  const int rows = layer->matrices.at(0).rows;
  const CudaOverlap overlap = overlap_of(*layer);
  auto compute = [layer = std::move(layer), activation](CudaLaunches& launches, const Arrays& in, Arrays& out) {
    ProductStep step;
    step.gated = true;
    step.activation = activation;
    launch_products(launches, *layer, step, in[0], out);
  };
  return mx::array(with_last(x, rows), x.dtype(), cuda_op("CudaGated", std::move(compute), overlap),
                   {row_contiguous(x)});
}

mx::array cuda_activated(const mx::array& gate, const mx::array& up, int activation) {
  auto compute = [activation](CudaLaunches& launches, const Arrays& in, Arrays& out) {
    const auto size = static_cast<long long>(out[0].size());
    if (size == 0) return;
    const ActivatedParams p{cuda_data(in[0]), cuda_data(in[1]), cuda_data(out[0]), size, activation};
    auto* function = cuda_function({cuda_source::common, cuda_source::rows}, "activated",
                                   {{"TYPE", cuda_type(out[0].dtype())}, {"NORM_TYPE", 0}});
    launches.launch(function, {static_cast<unsigned>((size / 8 + 255) / 256)}, 256, 0, p, {in.begin(), in.end()},
                    {out[0]});
  };
  return mx::array(gate.shape(), gate.dtype(), cuda_op("CudaActivated", std::move(compute)),
                   {row_contiguous(gate), row_contiguous(up)});
}

}  // namespace mlxk
