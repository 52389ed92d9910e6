#pragma once

#include <vector>

#include "kernels/cuda/functions.h"
#include "mlx/dtype.h"

namespace mlxk {

/// The number of bf16 operands that represent a row of activations exactly.
int operands_of(mlx::core::Dtype type);

/// The launch parameters of qmm.cu.
struct QmmPlan {
  int tiles;         // of eight operands
  int at_once;       // rows of activations that fit into them
  int bands;         // of sixteen rows of weights, in a block
  int depth;         // stages in flight
  int warps;         // that share the columns
  int resident;      // blocks of a multiprocessor
  int shared_bytes;  // of a block
};

/// The launch parameters of grouped.cu.
struct GroupedPlan {
  int tiles;         // of eight pairs
  int depth;         // stages in flight
  int resident;      // blocks of a multiprocessor
  int shared_bytes;  // of a block

  int at_once() const { return tiles * 8; }  // pairs
};
/// The number of warps of a block of grouped.cu.
constexpr int kGroupedWarps = 4;

/// The memory format of matrices and the kernel parameters that follow from it.
struct CudaPacking {
  int bits, group;  // 16: bfloat16
  bool mx;          // e2m1 with powers of two as scales
  int scale_type;   // as cuda_type
  int columns;

  std::vector<CudaDefine> defines() const;

  bool suits_qmv(int n, int operands) const;
  int qmv_shared_bytes(int operands) const;
  /// The number of warps that share the columns, and whether each has whole rounds; `slots`: the experts of a token
  /// whose columns make up one product.
  int qmv_warps(int slots = 1) const;
  bool even_in_qmv(int slots = 1) const;
  /// Whether qmv.cu multiplies one row of activations in bytes (DIGITS).
  bool digits_in_qmv(int slots = 1) const;

  /// The plan for matrices of `rows` (gated: of each of the two) and n > 0 rows of activations; if these come in
  /// groups, n is the number expected of each expert.
  QmmPlan qmm_plan(const std::vector<int>& rows, bool gated, int n, int operands, int groups = 0) const;
  bool wide_scales_of_qmm() const;

  /// Whether grouped.cu multiplies matrices of `rows` in this format.
  bool suits_grouped(int rows) const;
  /// Its plan if about `pairs_of_expert` pairs are expected of each expert.
  GroupedPlan grouped_plan(int pairs_of_expert) const;

  /// The number of steps in a row of weights: parts with one scale each, or halves of such parts.
  int steps() const { return columns / step(); }

 private:
  int qmm_bytes(const QmmPlan& plan, bool gated) const;
  int step() const { return group < 64 ? group : 64; }
};

}  // namespace mlxk
