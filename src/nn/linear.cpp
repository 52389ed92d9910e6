#include "nn/linear.h"

#include <fmt/format.h>

#include "mlx/ops.h"

namespace mlxk {
namespace {

// The weights themselves are not cast: the CPU kernels read every float type.
mx::array take_weight(const WeightPath& path, int rows, int columns) {
  Weights& weights = path.weights();
  std::string name = (path / "weight").path();
  return path.has("scales") ? weights.keep_as_stored(weights.take_raw(name))
                            : weights.take_as_stored(name, {rows, columns});
}

/// x times `weights` by the device's operation, or nullopt if it has none; `packed` is made on the first call.
template <class T>
std::optional<mx::array> own_product(const T& weights, Packed& packed, const mx::array& x) {
  const LayerOps& ops = layer_ops();
  if (!ops.matmuls) return std::nullopt;
  if (!packed) packed = ops.pack({weights.weights()}, std::nullopt, std::nullopt);
  return packed ? std::optional(ops.matmuls(x, packed).front()) : std::nullopt;
}

}  // namespace

Matrix::Matrix(const WeightPath& path, int rows, int columns)
    : weight(take_weight(path, rows, columns)), type(path.weights().activation_type()), rows(rows), columns(columns) {
  if (!path.has("scales")) {
    transposed = mx::transpose(weight);
    return;
  }
  Weights& weights = path.weights();
  scales = weights.keep_as_stored(weights.take_raw((path / "scales").path()));
  packing = weights.quantization().of(path.path(), weight, *scales, columns);
  if (weight.ndim() != 2 || weight.shape(0) != rows || scales->shape(0) != rows) {
    weights.note(
        fmt::format("{} must have {} rows, got {} and {}", path.path(), rows, weight.shape(0), scales->shape(0)));
  }
  if (packing.mode == "affine") {
    biases = weights.take_as_stored((path / "biases").path(), scales->shape());
  }
}

Matrix Matrix::part(int begin, int end) const {
  const auto cut = [&](const mx::array& x) { return mx::slice(x, {begin, 0}, {end, x.shape(1)}); };
  Matrix part = *this;
  part.packed = nullptr;
  part.rows = end - begin;
  if (weight.ndim() != 2 || weight.shape(0) != rows || (scales && scales->shape(0) != rows)) return part;  // noted
  part.weight = cut(weight);
  if (transposed) part.transposed = mx::transpose(part.weight);
  if (scales) part.scales = cut(*scales);
  if (biases && biases->shape(0) == rows) part.biases = cut(*biases);
  return part;
}

MatrixWeights Matrix::weights() const {
  if (transposed) return {weight, std::nullopt, std::nullopt, std::nullopt, rows, columns};
  return {weight, scales, biases, std::nullopt, rows, columns, packing.bits, packing.group_size};
}

mx::array Matrix::times(const mx::array& x) const {
  if (auto y = own_product(*this, packed, x)) return *y;
  if (transposed) return mx::matmul(x, *transposed);
  return mx::quantized_matmul(x, weight, *scales, biases, true, packing.group_size, packing.bits, packing.mode);
}

mx::array Matrix::rows_of(const mx::array& ids) const {
  const LayerOps& ops = layer_ops();
  if (ops.lookup && ops.takes(type)) {
    if (auto found = ops.lookup(ids, weights())) return mx::astype(*found, type);
  }
  mx::array rows = mx::take(weight, ids, 0);
  if (transposed) return mx::astype(rows, type);
  mx::array row_scales = mx::take(*scales, ids, 0);
  std::optional<mx::array> row_biases;
  if (biases) {
    row_scales = mx::astype(row_scales, type);
    row_biases = mx::astype(mx::take(*biases, ids, 0), type);
  }
  return mx::dequantize(rows, row_scales, row_biases, packing.group_size, packing.bits, packing.mode, std::nullopt,
                        type);
}

Linear::Linear(const WeightPath& path, int in, int out, bool bias) : matrix_(path, out, in) {
  if (bias) bias_ = path.take("bias", {out});
}

MatrixWeights Linear::weights() const {
  MatrixWeights own = matrix_.weights();
  own.bias = bias_;
  return own;
}

std::vector<Linear> Linear::split(const std::vector<int>& rows) const {
  std::vector<Linear> parts;
  int begin = 0;
  for (const int count : rows) {
    const int end = begin + count;
    if (end > out()) break;
    std::optional<mx::array> bias;
    if (bias_) bias = mx::slice(*bias_, {begin}, {end});
    parts.push_back(Linear(matrix_.part(begin, end), std::move(bias)));
    begin = end;
  }
  if (begin != out() || parts.size() != rows.size()) {
    throw Error(ErrorKind::internal, fmt::format("[linear] the parts must add up to {} outputs", out()));
  }
  return parts;
}

mx::array Linear::operator()(const mx::array& x) const {
  if (auto y = own_product(*this, packed_, x)) return *y;
  if (!bias_) return matrix_.times(x);
  if (matrix_.transposed) return mx::addmm(*bias_, x, *matrix_.transposed);
  return mx::add(matrix_.times(x), *bias_);
}

}  // namespace mlxk
