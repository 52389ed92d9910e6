#include "kernels/cuda/cuda_ops.h"

#include <algorithm>

#include "kernels/cuda/cuda_op.h"
#include "kernels/cuda/driver.h"
#include "kernels/cuda/functions.h"
#include "kernels/cuda/launch_plan.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace mlxk {

namespace {

// As in qmv.cu and qmm.cu.
struct Matrix {
  const void* weight;
  const void* scales;
  const void* biases;
  const void* bias;
  void* y;
  int rows, first_tile;
};

struct QmvParams {
  Matrix matrices[4];
  int count, gated, activation, tiles, columns;
  float eps, multiplier;
  const void* x;
  const void* norm;
  const void* residual;
};

struct QmmParams {
  Matrix matrices[4];
  int count, gated, activation, tiles, columns, n, at_once;
  float multiplier;
  const void* x;
  const void* residual;
};

struct NormParams {
  const void* x;
  const void* weight;
  void* y;
  int columns;
  float eps;
};

struct ActivatedParams {
  const void* gate;
  const void* up;
  void* y;
  long long size;
  int activation;
};

/// Operations fused with the products.
struct Step {
  bool gated = false;
  int activation = 0;
  float multiplier = 1;
  const mx::array* residual = nullptr;
};

const void* data_of(const std::optional<mx::array>& a) { return a ? cuda_data(*a) : nullptr; }

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

/// The matrices in the kernel's form, their rows cut into tiles of `tile_rows`; returns the number of tiles.
int fill(Matrix* out, const CudaLayer& layer, const Arrays& ys, bool gated, int tile_rows) {
  int tiles = 0;
  for (size_t i = 0; i < layer.matrices.size(); ++i) {
    const MatrixWeights& m = layer.matrices[i];
    out[i] = {cuda_data(m.weight),
              data_of(m.scales),
              data_of(m.biases),
              data_of(m.bias),
              cuda_data(ys[gated ? 0 : i]),
              m.rows,
              gated ? 0 : tiles};
    const int own = (m.rows + tile_rows - 1) / tile_rows;
    tiles = gated ? own : tiles + own;
  }
  return tiles;
}

void launch_qmv(CudaLaunches& launches, const CudaLayer& layer, const Step& step, const mx::array& x, Arrays& ys,
                int n) {
  QmvParams p{};
  p.tiles = fill(p.matrices, layer, ys, step.gated, step.gated ? 8 : 16);
  p.count = static_cast<int>(layer.matrices.size());
  p.gated = step.gated;
  p.activation = step.activation;
  p.columns = layer.packing.columns;
  p.multiplier = step.multiplier;
  p.x = cuda_data(x);
  p.residual = step.residual ? cuda_data(*step.residual) : nullptr;
  if (layer.norm) {
    p.norm = cuda_data(layer.norm->weight);
    p.eps = layer.norm->eps;
  }
  auto defines = layer.packing.defines();
  defines.insert(defines.end(), {{"TYPE", cuda_type(x.dtype())},
                                 {"OUT_TYPE", cuda_type(ys[0].dtype())},
                                 {"NORM_TYPE", layer.norm ? cuda_type(layer.norm->weight.dtype()) : 0},
                                 {"ROWS", n},
                                 {"EVEN", layer.packing.even_in_qmv()}});
  const int shared = layer.packing.qmv_shared_bytes(n * operands_of(x.dtype()));
  auto* function = cuda_function({cuda_source::common, cuda_source::packed, cuda_source::qmv}, "qmv", defines, shared);
  const int resident = std::max(1, std::min(2, cuda_device().shared_bytes / (shared + 17408)));
  const dim3 grid{static_cast<unsigned>(std::min(p.tiles, resident * cuda_device().multiprocessors))};
  launches.launch(function, grid, 256, shared, p, {x, step.residual ? *step.residual : x}, {ys.begin(), ys.end()});
}

/// x, normalised, as bf16 operands.
mx::array operands(CudaLaunches& launches, const CudaLayer& layer, const mx::array& x, int n) {
  if (!layer.norm && x.dtype() == mx::bfloat16) return x;
  const int columns = layer.packing.columns;
  mx::array y = launches.scratch(static_cast<size_t>(n) * operands_of(x.dtype()) * columns * 2);
  NormParams p{cuda_data(x), nullptr, cuda_data(y), columns, 0};
  if (layer.norm) {
    p.weight = cuda_data(layer.norm->weight);
    p.eps = layer.norm->eps;
  }
  auto* function = cuda_function(
      {cuda_source::common, cuda_source::rows}, "operands",
      {{"TYPE", cuda_type(x.dtype())}, {"NORM_TYPE", layer.norm ? cuda_type(layer.norm->weight.dtype()) : 0}});
  launches.launch(function, {static_cast<unsigned>(n)}, 256, 0, p, {x}, {y});
  return y;
}

void launch_qmm(CudaLaunches& launches, const CudaLayer& layer, const Step& step, const mx::array& x, Arrays& ys,
                int n) {
  const int parts = operands_of(x.dtype());
  std::vector<int> rows;
  for (const MatrixWeights& m : layer.matrices) rows.push_back(m.rows);
  if (step.gated) rows.pop_back();
  const QmmPlan plan = layer.packing.qmm_plan(rows, step.gated, n, parts);
  const mx::array in = operands(launches, layer, x, n);
  QmmParams p{};
  p.tiles = fill(p.matrices, layer, ys, step.gated, plan.bands * (step.gated ? 8 : 16));
  p.count = static_cast<int>(layer.matrices.size());
  p.gated = step.gated;
  p.activation = step.activation;
  p.columns = layer.packing.columns;
  p.n = n;
  p.at_once = plan.at_once;
  p.multiplier = step.multiplier;
  p.x = cuda_data(in);
  p.residual = step.residual ? cuda_data(*step.residual) : nullptr;
  auto defines = layer.packing.defines();
  defines.insert(defines.end(), {{"OUT_TYPE", cuda_type(ys[0].dtype())},
                                 {"PARTS", parts},
                                 {"TILES", plan.tiles},
                                 {"BANDS", plan.bands},
                                 {"DEPTH", plan.depth},
                                 {"RESIDENT", plan.resident},
                                 {"WIDE_SCALES", layer.packing.wide_scales_of_qmm()}});
  auto* function =
      cuda_function({cuda_source::common, cuda_source::packed, cuda_source::qmm}, "qmm", defines, plan.shared_bytes);
  const int items = p.tiles * ((n + plan.at_once - 1) / plan.at_once);
  const dim3 grid{static_cast<unsigned>(std::min(items, plan.resident * cuda_device().multiprocessors))};
  launches.launch(function, grid, 256, plan.shared_bytes, p, {in, step.residual ? *step.residual : in},
                  {ys.begin(), ys.end()});
}

void multiply(CudaLaunches& launches, const CudaLayer& layer, const Step& step, const mx::array& x, Arrays& ys) {
  const int n = x.shape(-1) == 0 ? 0 : static_cast<int>(x.size() / static_cast<size_t>(x.shape(-1)));
  if (n == 0) return;
  if (layer.packing.suits_qmv(n, operands_of(x.dtype()))) {
    launch_qmv(launches, layer, step, x, ys, n);
  } else {
    launch_qmm(launches, layer, step, x, ys, n);
  }
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
  auto compute = [layer = std::move(layer)](CudaLaunches& launches, const Arrays& in, Arrays& out) {
    multiply(launches, *layer, {}, in[0], out);
  };
  return mx::array::make_arrays(std::move(shapes), types, cuda_op("CudaMatmuls", std::move(compute)),
                                {row_contiguous(x)});
}

mx::array cuda_matmul_residual(const mx::array& x, std::shared_ptr<const CudaLayer> layer, float multiplier,
                               const mx::array& residual) {
  const int rows = layer->matrices.at(0).rows;
  auto compute = [layer = std::move(layer), multiplier](CudaLaunches& launches, const Arrays& in, Arrays& out) {
    Step step;
    step.multiplier = multiplier;
    step.residual = &in[1];
    multiply(launches, *layer, step, in[0], out);
  };
  return mx::array(with_last(x, rows), x.dtype(), cuda_op("CudaMatmulResidual", std::move(compute)),
                   {row_contiguous(x), row_contiguous(residual)});
}

mx::array cuda_gated(const mx::array& x, std::shared_ptr<const CudaLayer> layer, int activation) {
  const int rows = layer->matrices.at(0).rows;
  auto compute = [layer = std::move(layer), activation](CudaLaunches& launches, const Arrays& in, Arrays& out) {
    Step step;
    step.gated = true;
    step.activation = activation;
    multiply(launches, *layer, step, in[0], out);
  };
  return mx::array(with_last(x, rows), x.dtype(), cuda_op("CudaGated", std::move(compute)), {row_contiguous(x)});
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
