#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "kernels/cuda/launch_plan.h"
#include "kernels/device.h"
#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// The weights of one operation: one to four matrices with the same columns, or gate and up.
struct CudaLayer {
  std::vector<MatrixWeights> matrices;
  std::optional<NormWeights> norm;
  CudaPacking packing;
};

/// Evaluates the weights. Null if the kernels do not support them: they multiply with affine weights of 4 or 8 bits in
/// groups of 32, 64 or 128, with mxfp4 and with bfloat16, and norm by the root mean square.
std::shared_ptr<const CudaLayer> cuda_layer(std::vector<MatrixWeights> matrices,
                                            const std::optional<NormWeights>& norm = std::nullopt);

/// The most rows of activations that the kernels below are meant for: with more, unpacking the weights is faster.
constexpr int kCudaFewRows = 64;

/// norm(x) times each matrix: x [..., columns] of a float type → one [..., rows] for each, of that type or `type`. One
/// operation, like the others here; for few rows (kCudaFewRows).
std::vector<mx::array> cuda_matmuls(const mx::array& x, std::shared_ptr<const CudaLayer> layer,
                                    std::optional<mx::Dtype> type = std::nullopt);

/// residual + multiplier * (x · matrix): x [..., columns], residual [..., rows].
mx::array cuda_matmul_residual(const mx::array& x, std::shared_ptr<const CudaLayer> layer, float multiplier,
                               const mx::array& residual);

/// act(gate(norm(x))) * up(norm(x)) with the matrices gate and up; activation as in CpuKernels::gated.
mx::array cuda_gated(const mx::array& x, std::shared_ptr<const CudaLayer> layer, int activation);

/// act(gate) * up of equal shapes [...], with a multiple of eight elements.
mx::array cuda_activated(const mx::array& gate, const mx::array& up, int activation);

/// The rows `ids` [...] int32 of a packed table (4 or 8 bits) → [..., columns] of `type`; NaN for an id outside it.
mx::array cuda_lookup(const mx::array& ids, const MatrixWeights& table, mx::Dtype type);

/// All of a packed matrix (4 or 8 bits) → [rows, columns] of `type`: for products with many rows.
mx::array cuda_unpacked(const MatrixWeights& matrix, mx::Dtype type);

}  // namespace mlxk
