#pragma once

#include <cstdint>

#include "cpu/matmul.h"
#include "cpu/phase.h"
#include "cpu/scratch.h"

namespace mlxk {

/// Rows of activations that one thread multiplies by itself, in the form that matrices with kept panels take them. The
/// results have the bits of `multiply`.
class RowBlock {
 public:
  /// Columns of a row that can be set at a time start at a multiple of this.
  static constexpr int64_t kColumns = 64;
  /// Whether products of this kind exist for the matrix: it has kept panels, and they are not tiles.
  static bool takes(const MatrixView& matrix, Phase phase);

  /// Makes room for n rows, of which nothing is set, to be multiplied with `matrix` and others of the same form.
  void begin(const MatrixView& matrix, Phase phase, int64_t n);
  /// Sets columns [at, at + columns) of a row.
  void set(int64_t row, const float* x, int64_t at, int64_t columns);
  /// y[r * y_stride + i - first] = x[r] · matrix[i] + bias[i] for its rows [first, end), whole pairs of panels or the
  /// last ones.
  void multiply(const MatrixView& matrix, int64_t first, int64_t end, float* y, int64_t y_stride) const;

 private:
  Scratch values_, factors_;
  int64_t n_ = 0;
  int group_ = 0;  // of packed weights; 0: floats
  int bits_ = 0;   // kBytes, or 0: 16-bit integers for packed weights
  QuantizedRows packed_{};
  I16Rows shorts_{};
};

}  // namespace mlxk
