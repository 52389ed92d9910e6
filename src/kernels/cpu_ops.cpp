#include "kernels/cpu_ops.h"

#include <algorithm>
#include <stdexcept>

#include "kernels/cpu_features.h"
#include "kernels/cpu_op.h"
#include "kernels/matmul.h"
#include "kernels/threads.h"

namespace mlxk {

namespace {

/// Where an operation finds its arrays among its inputs; -1: it has none.
struct NormRef {
  int weight = -1;
  float eps = 0;
};
struct MatrixRef {
  int weight, scales, biases, bias;
  int rows, columns, bits, group;
};

/// The inputs of an operation while its graph is built.
class InputList {
 public:
  explicit InputList(const mx::array& x) : arrays{x} {}
  int add(const std::optional<mx::array>& a) {
    if (!a) return -1;
    arrays.push_back(*a);
    return static_cast<int>(arrays.size()) - 1;
  }
  NormRef add(const std::optional<CpuNorm>& norm) { return norm ? NormRef{add(norm->weight), norm->eps} : NormRef{}; }
  MatrixRef add(const CpuMatrix& m) {
    return {add(m.weight), add(m.scales), add(m.biases), add(m.bias), m.rows, m.columns, m.bits, m.group};
  }
  std::vector<mx::array> arrays;
};

FloatType float_type(const mx::array& a) {
  if (a.dtype() == mx::float32) return kFloat32;
  if (a.dtype() == mx::float16) return kFloat16;
  if (a.dtype() == mx::bfloat16) return kBFloat16;
  throw std::runtime_error("[kernels] scales and float weights must be float32, float16 or bfloat16");
}

MatrixView view(const MatrixRef& ref, const Arrays& inputs) {
  auto at = [&](int i) { return i < 0 ? nullptr : inputs[static_cast<size_t>(i)].data<void>(); };
  const auto& typed = inputs[static_cast<size_t>(ref.bits == 0 ? ref.weight : ref.scales)];
  return {at(ref.weight), at(ref.scales), at(ref.biases), static_cast<const float*>(at(ref.bias)),
          ref.rows,       ref.columns,    ref.bits,       ref.group, float_type(typed)};
}

constexpr int64_t kRowsAtOnce = 8;

/// Norms every row; x itself without a norm.
const float* normed(const NormRef& norm, const Arrays& inputs, const float* x, int64_t n, int64_t columns, Scratch& out) {
  if (norm.weight < 0) return x;
  const float* weight = inputs[static_cast<size_t>(norm.weight)].data<float>();
  float* y = out.floats(n * columns);
  parallel_for(n, kRowsAtOnce, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      cpu_kernels().rms_norm(x + r * columns, weight, norm.eps, columns, y + r * columns);
    }
  });
  return y;
}

/// out = residual + multiplier * norm(y), row by row.
void add_residual(const NormRef& norm, const Arrays& inputs, const float* y, const float* residual, float multiplier,
                  int64_t n, int64_t columns, Scratch& scratch, float* out) {
  const float* scaled = normed(norm, inputs, y, n, columns, scratch);
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

std::vector<mx::array> cpu_matmuls(const mx::array& x, const std::optional<CpuNorm>& norm,
                                   const std::vector<CpuMatrix>& matrices) {
  InputList inputs(x);
  const NormRef norm_ref = inputs.add(norm);
  std::vector<MatrixRef> refs;
  std::vector<mx::Shape> shapes;
  for (const auto& matrix : matrices) {
    refs.push_back(inputs.add(matrix));
    shapes.push_back(with_last(x, matrix.rows));
  }
  auto compute = [norm_ref, refs, phase = current_phase()](const Arrays& in, Arrays& out) {
    static Scratch copy, normalised;
    const int64_t n = rows_of(in[0]);
    const float* from = row_major(in[0], copy);
    const float* h = normed(norm_ref, in, from, n, in[0].shape(-1), normalised);
    std::vector<MatrixView> views;
    std::vector<float*> ys;
    for (size_t m = 0; m < refs.size(); ++m) {
      views.push_back(view(refs[m], in));
      ys.push_back(out[m].data<float>());
    }
    multiply(views, h, n, ys, phase);
  };
  return mx::array::make_arrays(std::move(shapes), std::vector<mx::Dtype>(matrices.size(), mx::float32),
                                cpu_op("CpuMatmuls", std::move(compute)), inputs.arrays);
}

mx::array cpu_matmul_residual(const mx::array& x, const CpuMatrix& matrix, const std::optional<CpuNorm>& norm,
                              float multiplier, const mx::array& residual) {
  InputList inputs(x);
  const int residual_at = inputs.add(residual);
  const NormRef norm_ref = inputs.add(norm);
  const MatrixRef ref = inputs.add(matrix);
  auto compute = [=, phase = current_phase()](const Arrays& in, Arrays& out) {
    static Scratch copy, residual_copy, product, normalised;
    const int64_t n = rows_of(in[0]);
    const MatrixView matrices[] = {view(ref, in)};
    float* const ys[] = {product.floats(n * ref.rows)};
    multiply(matrices, row_major(in[0], copy), n, ys, phase);
    add_residual(norm_ref, in, ys[0], row_major(in[static_cast<size_t>(residual_at)], residual_copy), multiplier, n,
                 ref.rows, normalised, out[0].data<float>());
  };
  return mx::array(with_last(x, matrix.rows), mx::float32, cpu_op("CpuMatmulResidual", std::move(compute)), inputs.arrays);
}

mx::array cpu_gated_mlp(const mx::array& x, const std::optional<CpuNorm>& norm, const CpuMatrix& gate,
                        const CpuMatrix& up, const CpuMatrix& down, const std::optional<CpuNorm>& post_norm,
                        int activation, float multiplier) {
  InputList inputs(x);
  const NormRef norm_ref = inputs.add(norm), post_ref = inputs.add(post_norm);
  const MatrixRef gate_ref = inputs.add(gate), up_ref = inputs.add(up), down_ref = inputs.add(down);
  auto compute = [=, phase = current_phase()](const Arrays& in, Arrays& out) {
    static Scratch copy, normalised, gates, ups, product;
    const int64_t n = rows_of(in[0]), wide = gate_ref.rows;
    const float* from = row_major(in[0], copy);
    const float* h = normed(norm_ref, in, from, n, in[0].shape(-1), normalised);
    const MatrixView both[] = {view(gate_ref, in), view(up_ref, in)};
    float* const ys[] = {gates.floats(n * wide), ups.floats(n * wide)};
    multiply(both, h, n, ys, phase);
    parallel_for(n * wide, 4096, [&](int64_t begin, int64_t end, int) {
      cpu_kernels().gated(ys[0] + begin, ys[1] + begin, end - begin, activation, ys[0] + begin);
    });
    const MatrixView last[] = {view(down_ref, in)};
    float* const results[] = {product.floats(n * down_ref.rows)};
    multiply(last, ys[0], n, results, phase);
    add_residual(post_ref, in, results[0], from, multiplier, n, down_ref.rows, normalised, out[0].data<float>());
  };
  return mx::array(x.shape(), mx::float32, cpu_op("CpuGatedMlp", std::move(compute)), inputs.arrays);
}

}  // namespace mlxk
