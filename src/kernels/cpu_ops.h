#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "cpu/matmul.h"
#include "cpu/phase.h"
#include "kernels/cpu_op.h"
#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// A weight that the CPU kernels multiply with.
struct CpuMatrix {
  mx::array weight;                         // [rows, columns] of floats, or packed in uint32
  std::optional<mx::array> scales, biases;  // packed: [rows, columns / group] of one float type; or uint8 scales alone
  std::optional<mx::array> bias;            // [rows] float32
  int rows, columns;
  int bits = 0, group = 0;  // 0: not packed
};

/// A norm of rows, its factor and offset [columns] in float32.
struct CpuNorm {
  mx::array weight;
  float eps;
  bool centred = false;                // by mean and variance (layer norm), else by the root mean square
  std::optional<mx::array> bias = {};  // of a centred one
};

/// The buffers of a matrix whose arrays are evaluated; throws as cpu_layer does.
MatrixView matrix_view(const CpuMatrix& matrix);

/// The weights of one operation, evaluated and looked over once: the graphs refer to them as a whole and not array by
/// array, which would cost more than a small product.
struct CpuLayer;

/// Evaluates what is lazy; throws when a weight is not row-contiguous or of a type that the kernels do not read.
std::shared_ptr<const CpuLayer> cpu_layer(std::vector<CpuMatrix> matrices, std::optional<CpuNorm> norm = std::nullopt,
                                          std::optional<CpuNorm> post_norm = std::nullopt);

/// norm(x) times each matrix: x [..., columns] float32 → one [..., rows] for each. One operation of the graph.
std::vector<mx::array> cpu_matmuls(const mx::array& x, std::shared_ptr<const CpuLayer> layer);

/// residual + multiplier * post_norm(x · matrix): x [..., columns], residual [..., rows]. One operation.
mx::array cpu_matmul_residual(const mx::array& x, std::shared_ptr<const CpuLayer> layer, float multiplier,
                              const mx::array& residual);

/// x + down(act(up(norm(x)))) with the matrices up and down: x [..., hidden]; activation as CpuKernels::activate takes
/// it. One operation.
mx::array cpu_mlp(const mx::array& x, std::shared_ptr<const CpuLayer> layer, int activation);

/// act(x), x [...] float32. One operation.
mx::array cpu_activate(const mx::array& x, int activation);

/// x + multiplier * post_norm(down(act(gate(norm(x))) * up(norm(x)))) with the matrices gate, up and down: x [...,
/// hidden]; activation as CpuKernels::gated takes it. One operation.
mx::array cpu_gated_mlp(const mx::array& x, std::shared_ptr<const CpuLayer> layer, int activation, float multiplier);

}  // namespace mlxk
