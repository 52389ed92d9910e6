#pragma once

#include <memory>
#include <optional>

#include "cpu/experts.h"
#include "kernels/cpu/ops.h"

namespace mlxk {

/// The gated MLPs of a mixture and its router. Evaluates lazy arrays; throws like cpu_layer, and if shapes or the
/// number of experts do not match.
Packed cpu_experts(MixtureWeights mixture);

/// y[…, j] = stack[ids[…, j]] · x[…]: x [..., columns] float32, ids [..., k] uint32 → [..., k, rows]. One operation.
mx::array cpu_gather_matmul(const mx::array& x, const mx::array& ids, const Packed& stack);
/// The weights for cpu_gather_matmul.
Packed cpu_stack(const MatrixWeights& stack);
/// Its matrices.
const ExpertStack& stack_of(const Packed& stack);

/// sum over j of weights[…, j] * down(act(gate(x)) * up(x)) of expert ids[…, j]: x [..., hidden] float32, ids [..., k]
/// uint32 and weights [..., k] float32 → [..., hidden]. One operation.
mx::array cpu_gated_experts(const mx::array& x, const mx::array& ids, const mx::array& weights, Packed experts);

/// residual + multiplier * the weighted sum of the experts that the router chooses for norm(x): x and residual [...,
/// hidden] float32; x is the residual unless one is given. One operation.
mx::array cpu_mixture(const mx::array& x, Packed experts, float multiplier,
                      const std::optional<mx::array>& residual = std::nullopt);

}  // namespace mlxk
