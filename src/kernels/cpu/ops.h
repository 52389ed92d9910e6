#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cpu/matmul.h"
#include "cpu/phase.h"
#include "kernels/cpu_op.h"
#include "kernels/device.h"
#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// The buffers of a matrix whose arrays are evaluated; throws like cpu_layer.
MatrixView matrix_view(const MatrixWeights& matrix);

/// The matrices of cpu_layer, unpacked for good for an encoder's phase if the budget allows. On libmlx's thread.
std::span<const MatrixView> cpu_kept_views(const Packed& layer, Phase phase);

/// Whether the kernels read matrices of that form.
bool cpu_reads(const MatrixWeights& matrix);

/// The weights of one operation: graphs refer to them as a whole and not array by array, which would cost more than a
/// small product. Evaluates lazy arrays; throws if a weight is not row-contiguous or of a type that the kernels do not
/// read.
Packed cpu_layer(std::vector<MatrixWeights> matrices, std::optional<NormWeights> norm = std::nullopt,
                 std::optional<NormWeights> post_norm = std::nullopt);

/// norm(x) times each matrix: x [..., columns] float32 → one [..., rows] for each. One operation of the graph.
std::vector<mx::array> cpu_matmuls(const mx::array& x, Packed layer);

/// residual + multiplier * post_norm(x · matrix): x [..., columns], residual [..., rows]. One operation.
mx::array cpu_matmul_residual(const mx::array& x, Packed layer, float multiplier, const mx::array& residual);

/// x + down(act(up(norm(x)))) with the matrices up and down: x [..., hidden]; activation as in CpuKernels::activate.
/// One operation.
mx::array cpu_mlp(const mx::array& x, Packed layer, int activation);

/// act(x), x [...] float32. One operation.
mx::array cpu_activate(const mx::array& x, int activation);

/// x + multiplier * post_norm(down(act(gate(norm(x))) * up(norm(x)))) with the matrices gate, up and down: x [...,
/// hidden]; activation as in CpuKernels::gated. One operation.
mx::array cpu_gated_mlp(const mx::array& x, Packed layer, int activation, float multiplier);

}  // namespace mlxk
