#include "kernels/cpu/ops.h"

#include <algorithm>
#include <stdexcept>

#include "cpu/features.h"
#include "cpu/matmul.h"
#include "cpu/threads.h"
#include "kernels/cpu/kept_panels.h"
#include "kernels/cpu_op.h"
#include "mlx/transforms.h"

namespace mlxk {

namespace {
// Up to this many rows, unpacking takes longer than the products.
constexpr int64_t kFewRows = 64;
}  // namespace

struct CpuLayer : PackedLayer {
  /// The matrices for products of n rows. On libmlx's thread.
  const std::vector<MatrixView>& views_for(int64_t n, Phase phase) const {
    if (encodes(phase) && n <= kFewRows) kept.keep(views, phase);
    return views;
  }

  std::vector<MatrixWeights> matrices;
  std::optional<NormWeights> norm, post_norm;
  mutable std::vector<MatrixView> views;  // of the matrices
  mutable KeptPanels kept;
};

namespace {

const CpuLayer& layer_of(const Packed& packed) { return static_cast<const CpuLayer&>(*packed); }

constexpr int64_t kRowsAtOnce = 8;

FloatType float_type(const mx::array& a) {
  if (a.dtype() == mx::float32) return kFloat32;
  if (a.dtype() == mx::float16) return kFloat16;
  if (a.dtype() == mx::bfloat16) return kBFloat16;
  throw std::invalid_argument("[kernels] scales and float weights must be float32, float16 or bfloat16");
}

/// Byte scales are e4m3 floats in groups of 16 (nvfp4), powers of two in others (mxfp4, mxfp8).
FloatType scale_type(const mx::array& scales, int group) {
  if (scales.dtype() != mx::uint8) return float_type(scales);
  return group == 16 ? kScaleE4M3 : kScaleE8M0;
}

const void* data_of(const std::optional<mx::array>& a) {
  if (!a) return nullptr;
  if (!a->flags().row_contiguous) throw std::invalid_argument("[kernels] weights must be row-contiguous");
  return a->data<void>();
}

MatrixView view(const MatrixWeights& m) {
  return {data_of(m.weight),
          data_of(m.scales),
          data_of(m.biases),
          static_cast<const float*>(data_of(m.bias)),
          m.rows,
          m.columns,
          m.bits,
          m.group,
          m.bits == 0 ? float_type(m.weight) : scale_type(*m.scales, m.group)};
}

/// Norms every row; returns x itself without a norm.
const float* normed(const std::optional<NormWeights>& norm, const float* x, int64_t n, int64_t columns, Scratch& out) {
  if (!norm) return x;
  const auto* weight = norm->weight.data<float>();
  const float* bias = norm->bias ? norm->bias->data<float>() : nullptr;
  float* y = out.floats(n * columns);
  parallel_for(n, kRowsAtOnce, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      if (norm->centred) {
        cpu_kernels().layer_norm(x + r * columns, weight, bias, norm->eps, columns, y + r * columns);
      } else {
        cpu_kernels().rms_norm(x + r * columns, weight, norm->eps, columns, y + r * columns);
      }
    }
  });
  return y;
}

/// out = residual + multiplier * norm(y), row by row.
void add_residual(const std::optional<NormWeights>& norm, const float* y, const float* residual, float multiplier,
                  int64_t n, int64_t columns, Scratch& scratch, float* out) {
  const float* scaled = normed(norm, y, n, columns, scratch);
  parallel_for(n, kRowsAtOnce, [&](int64_t begin, int64_t end, int) {
    std::copy(residual + begin * columns, residual + end * columns, out + begin * columns);
    cpu_kernels().add(scaled + begin * columns, multiplier, (end - begin) * columns, out + begin * columns);
  });
}

int64_t rows_of(const mx::array& x) { return x.shape(-1) == 0 ? 0 : static_cast<int64_t>(x.size()) / x.shape(-1); }

mx::Shape with_last(const mx::array& x, int last) {
  mx::Shape shape = x.shape();
  shape.back() = last;
  return shape;
}

}  // namespace

bool cpu_reads(const MatrixWeights& m) {
  if (m.bits == 0 || !m.scales || m.scales->dtype() == mx::uint8) return true;
  return m.biases && m.biases->dtype() == m.scales->dtype();
}

MatrixView matrix_view(const MatrixWeights& matrix) { return view(matrix); }

std::span<const MatrixView> cpu_kept_views(const Packed& packed, Phase phase) {
  return layer_of(packed).views_for(1, phase);
}

Packed cpu_layer(std::vector<MatrixWeights> matrices, std::optional<NormWeights> norm,
                 std::optional<NormWeights> post_norm) {
  auto layer = std::make_shared<CpuLayer>();
  layer->matrices = std::move(matrices);
  layer->norm = std::move(norm);
  layer->post_norm = std::move(post_norm);
  std::vector<mx::array> arrays;
  for (const auto& m : layer->matrices) {
    arrays.push_back(m.weight);
    for (const auto& part : {m.scales, m.biases, m.bias}) {
      if (part) arrays.push_back(*part);
    }
  }
  for (const auto& part : {layer->norm, layer->post_norm}) {
    if (!part) continue;
    arrays.push_back(part->weight);
    if (part->bias) arrays.push_back(*part->bias);
  }
  mx::eval(arrays);
  for (const auto& m : layer->matrices) layer->views.push_back(view(m));
  return layer;
}

std::vector<mx::array> cpu_matmuls(const mx::array& x, Packed packed) {
  std::vector<mx::Shape> shapes;
  for (const auto& matrix : layer_of(packed).matrices) shapes.push_back(with_last(x, matrix.rows));
  std::vector<mx::Dtype> types(shapes.size(), mx::float32);
  auto compute = [packed = std::move(packed), phase = current_phase()](const Arrays& in, Arrays& out) {
    static Scratch copy, normalised;
    const CpuLayer& layer = layer_of(packed);
    const int64_t n = rows_of(in[0]);
    const float* h = normed(layer.norm, row_major(in[0], copy), n, in[0].shape(-1), normalised);
    std::vector<float*> ys;
    for (auto& y : out) ys.push_back(y.data<float>());
    multiply(layer.views_for(n, phase), h, n, ys, phase);
  };
  return mx::array::make_arrays(std::move(shapes), types, cpu_op("CpuMatmuls", std::move(compute)), {x});
}

mx::array cpu_matmul_residual(const mx::array& x, Packed packed, float multiplier, const mx::array& residual) {
  const int rows = layer_of(packed).matrices.at(0).rows;
  auto compute = [packed = std::move(packed), multiplier, phase = current_phase()](const Arrays& in, Arrays& out) {
    static Scratch copy, residual_copy, product, normalised;
    const CpuLayer& layer = layer_of(packed);
    const int64_t n = rows_of(in[0]), rows = layer.views[0].rows;
    float* const ys[] = {product.floats(n * rows)};
    multiply(layer.views_for(n, phase), row_major(in[0], copy), n, ys, phase);
    add_residual(layer.post_norm, ys[0], row_major(in[1], residual_copy), multiplier, n, rows, normalised,
                 out[0].data<float>());
  };
  return mx::array(with_last(x, rows), mx::float32, cpu_op("CpuMatmulResidual", std::move(compute)), {x, residual});
}

mx::array cpu_gated_mlp(const mx::array& x, Packed packed, int activation, float multiplier) {
  auto compute = [packed = std::move(packed), activation, multiplier, phase = current_phase()](const Arrays& in,
                                                                                               Arrays& out) {
    static Scratch copy, normalised, gates, ups, product;
    const CpuLayer& layer = layer_of(packed);
    const int64_t n = rows_of(in[0]);
    const std::span<const MatrixView> matrices(layer.views_for(n, phase));
    const int64_t wide = matrices[0].rows, columns = matrices[2].rows;
    const float* x = row_major(in[0], copy);
    float* const inner[] = {gates.floats(n * wide), ups.floats(n * wide)};
    multiply(matrices.first(2), normed(layer.norm, x, n, columns, normalised), n, inner, phase);
    parallel_for(n * wide, 4096, [&](int64_t begin, int64_t end, int) {
      cpu_kernels().gated(inner[0] + begin, inner[1] + begin, end - begin, activation, inner[0] + begin);
    });
    float* const ys[] = {product.floats(n * columns)};
    multiply(matrices.subspan(2), inner[0], n, ys, phase);
    add_residual(layer.post_norm, ys[0], x, multiplier, n, columns, normalised, out[0].data<float>());
  };
  return mx::array(x.shape(), mx::float32, cpu_op("CpuGatedMlp", std::move(compute)), {x});
}

mx::array cpu_mlp(const mx::array& x, Packed packed, int activation) {
  auto compute = [packed = std::move(packed), activation, phase = current_phase()](const Arrays& in, Arrays& out) {
    static Scratch copy, normalised, inner, product;
    const CpuLayer& layer = layer_of(packed);
    const int64_t n = rows_of(in[0]);
    const std::span<const MatrixView> matrices(layer.views_for(n, phase));
    const int64_t wide = matrices[0].rows, columns = matrices[1].rows;
    const float* x = row_major(in[0], copy);
    float* const h[] = {inner.floats(n * wide)};
    multiply(matrices.first(1), normed(layer.norm, x, n, columns, normalised), n, h, phase);
    parallel_for(n * wide, 4096, [&](int64_t begin, int64_t end, int) {
      cpu_kernels().activate(h[0] + begin, end - begin, activation, h[0] + begin);
    });
    float* const ys[] = {product.floats(n * columns)};
    multiply(matrices.subspan(1), h[0], n, ys, phase);
    add_residual(std::nullopt, ys[0], x, 1, n, columns, normalised, out[0].data<float>());
  };
  return mx::array(x.shape(), mx::float32, cpu_op("CpuMlp", std::move(compute)), {x});
}

mx::array cpu_activate(const mx::array& x, int activation) {
  auto compute = [activation](const Arrays& in, Arrays& out) {
    static Scratch copy;
    const float* from = row_major(in[0], copy);
    float* to = out[0].data<float>();
    parallel_for(static_cast<int64_t>(in[0].size()), 4096, [&](int64_t begin, int64_t end, int) {
      cpu_kernels().activate(from + begin, end - begin, activation, to + begin);
    });
  };
  return mx::array(x.shape(), mx::float32, cpu_op("CpuActivate", std::move(compute)), {x});
}

}  // namespace mlxk
