#pragma once

#include <cstdint>
#include <span>

#include "cpu/isa/table.h"
#include "cpu/phase.h"
#include "cpu/scratch.h"

namespace mlxk {

/// A weight matrix in memory in the form that the kernels read: packed, or of floats if bits is 0.
struct MatrixView {
  const void* data = nullptr;    // [rows, columns] packed or of `type`
  const void* scales = nullptr;  // packed: [rows, columns / group] of `type`
  const void* biases = nullptr;
  const float* bias = nullptr;  // [rows], added to the product; or null
  int64_t rows = 0, columns = 0;
  int bits = 0, group = 0;
  FloatType type = kFloat32;
  const void* kept = nullptr;  // its panels as keep_panels left them for `kept_for`; or null
  Phase kept_for = Phase::encode;
};

/// Whether the kernels read the activations as bytes.
bool takes_bytes(const MatrixView& matrix, Phase phase);

/// The bytes of a matrix's unpacked panels for products in an encoder's phase; 0: it has none.
int64_t kept_panel_bytes(const MatrixView& matrix, Phase phase);
/// Unpacks a matrix into `panels`, kept_panel_bytes bytes aligned to 64. Runs like multiply.
void keep_panels(const MatrixView& matrix, Phase phase, void* panels);

/// Some rows of the activations and the matrix to multiply them with.
struct Product {
  MatrixView matrix;
  int64_t first, n;  // rows of the activations
  float* y;          // [n, matrix.rows]
};

/// y[r, i] = sum over k of x[first + r, k] * matrix[i, k], plus its bias, for every product; x [n, columns] float32;
/// all matrices have the same columns. Runs on all kernel threads; call it from one thread at a time.
void multiply(std::span<const Product> products, const float* x, int64_t n, Phase phase);

/// The same for matrices that are each multiplied with all rows: ys[m] [n, rows].
void multiply(std::span<const MatrixView> matrices, const float* x, int64_t n, std::span<float* const> ys, Phase phase);

}  // namespace mlxk
