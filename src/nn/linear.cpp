#include "nn/linear.h"

#include <fmt/format.h>

#include "mlx/ops.h"

namespace mlxk {
namespace {

mx::array take_weight(const WeightPath& path, int rows, int columns) {
  if (!path.has("scales")) return path.take("weight", {rows, columns});
  Weights& weights = path.weights();
  return weights.keep(weights.take_raw((path / "weight").path()));
}

}  // namespace

Matrix::Matrix(const WeightPath& path, int rows, int columns)
    : weight(take_weight(path, rows, columns)), type(path.weights().activation_type()) {
  if (!path.has("scales")) {
    transposed = mx::transpose(weight);
    return;
  }
  Weights& weights = path.weights();
  scales = weights.keep(weights.take_raw((path / "scales").path()));
  packing = weights.quantization().of(path.path(), weight, *scales, columns);
  if (weight.ndim() != 2 || weight.shape(0) != rows || scales->shape(0) != rows) {
    weights.note(
        fmt::format("{} must have {} rows, got {} and {}", path.path(), rows, weight.shape(0), scales->shape(0)));
  }
  if (packing.mode == "affine") {
    biases = path.take("biases", scales->shape());
  }
}

mx::array Matrix::times(const mx::array& x) const {
  if (transposed) return mx::matmul(x, *transposed);
  return mx::quantized_matmul(x, weight, *scales, biases, true, packing.group_size, packing.bits, packing.mode);
}

mx::array Matrix::rows_of(const mx::array& ids) const {
  if (transposed) return mx::take(weight, ids, 0);
  std::optional<mx::array> row_biases;
  if (biases) row_biases = mx::take(*biases, ids, 0);
  return mx::dequantize(mx::take(weight, ids, 0), mx::take(*scales, ids, 0), row_biases, packing.group_size,
                        packing.bits, packing.mode, std::nullopt, type);
}

Linear::Linear(const WeightPath& path, int in, int out, bool bias) : matrix_(path, out, in) {
  if (bias) bias_ = path.take("bias", {out});
}

mx::array Linear::operator()(const mx::array& x) const {
  if (!bias_) return matrix_.times(x);
  if (matrix_.transposed) return mx::addmm(*bias_, x, *matrix_.transposed);
  return mx::add(matrix_.times(x), *bias_);
}

}  // namespace mlxk
