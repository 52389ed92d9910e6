#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "kernels/device.h"
#include "mlx/array.h"
#include "nn/weights.h"

namespace mlxk {

/// A matrix of a checkpoint, plain or packed. Linear and Embedding hide the difference from the models.
struct Matrix {
  /// Takes `weight` [rows, columns] at `path`, with `scales` and `biases` if the checkpoint has them.
  Matrix(const WeightPath& path, int rows, int columns);
  /// Rows [begin, end) in the same memory.
  Matrix part(int begin, int end) const;

  mx::array times(const mx::array& x) const;      // [..., columns] → [..., rows]
  mx::array rows_of(const mx::array& ids) const;  // [...] int32 → [..., columns]; ids are in range
  /// In the form that the device's operations take.
  MatrixWeights weights() const;

  mx::array weight;                         // plain: the matrix; packed: uint32
  std::optional<mx::array> transposed;      // plain: a view [columns, rows]
  std::optional<mx::array> scales, biases;  // packed
  Quantization packing;
  mx::Dtype type;  // of the results
  int rows, columns;
  mutable Packed packed;  // for the device, made on first use
};

/// y = x Wᵀ + b.
class Linear {
 public:
  /// Takes `weight` [out, in] (or its packed form) and, with `bias`, `bias` [out] at `path`.
  Linear(const WeightPath& path, int in, int out, bool bias = false);
  mx::array operator()(const mx::array& x) const;  // [..., in] → [..., out]
  /// The maps whose weights are stacked in this one, with `rows` outputs each, in the same memory; throws internal
  /// unless `rows` add up to the number of outputs.
  std::vector<Linear> split(const std::vector<int>& rows) const;
  /// As Matrix::weights, with the bias.
  MatrixWeights weights() const;
  int in() const { return matrix_.columns; }
  int out() const { return matrix_.rows; }

 private:
  Linear(Matrix matrix, std::optional<mx::array> bias) : matrix_(std::move(matrix)), bias_(std::move(bias)) {}

  Matrix matrix_;
  std::optional<mx::array> bias_;
  mutable Packed packed_;  // for the device, made on first use
};

/// A table of token vectors, which may also be the head.
class Embedding {
 public:
  /// Takes `weight` [rows, columns] at `path`.
  Embedding(const WeightPath& path, int rows, int columns) : matrix_(path, rows, columns) {}
  mx::array operator()(const mx::array& ids) const { return matrix_.rows_of(ids); }  // [B, L] → [B, L, columns]
  /// The tied head: [..., columns] → [..., rows].
  mx::array as_linear(const mx::array& x) const { return matrix_.times(x); }

 private:
  Matrix matrix_;
};

}  // namespace mlxk
