#pragma once

#include <memory>
#include <optional>

#include "cpu/experts.h"
#include "kernels/cpu_ops.h"

namespace mlxk {

/// The gated MLPs of a mixture of experts, evaluated and looked over once, and what chooses among them.
struct CpuExperts;

/// What a mixture is made of. Stacks are matrices whose arrays have an axis in front, one entry an expert: weight
/// [experts, rows, columns] or packed, bias [experts, rows].
struct CpuMixture {
  CpuMatrix gate, up, down;
  int activation = 0;                                    // as CpuKernels::gated takes it
  std::optional<CpuNorm> norm;                           // for cpu_mixture: of what the router and the experts read
  std::optional<CpuMatrix> router;                       // for cpu_mixture: [experts, hidden]
  RoutingRule rule;                                      // its selection_bias and expert_scale are taken from below
  std::optional<mx::array> selection_bias;               // [experts] float32
  std::optional<mx::array> expert_scale = std::nullopt;  // [experts] float32
};

/// Evaluates what is lazy; throws as cpu_layer does, and when shapes or the number of experts do not fit together.
std::shared_ptr<const CpuExperts> cpu_experts(CpuMixture mixture);

/// y[…, j] = stack[ids[…, j]] · x[…]: x [..., columns] float32, ids [..., k] uint32 → [..., k, rows]. One operation.
mx::array cpu_gather_matmul(const mx::array& x, const mx::array& ids, const CpuMatrix& stack);

/// sum over j of weights[…, j] * down(act(gate(x)) * up(x)) of expert ids[…, j]: x [..., hidden] float32, ids [..., k]
/// uint32 and weights [..., k] float32 → [..., hidden]. One operation.
mx::array cpu_gated_experts(const mx::array& x, const mx::array& ids, const mx::array& weights,
                            std::shared_ptr<const CpuExperts> experts);

/// residual + multiplier * the weighted sum of the experts that the router chooses for norm(x): x and residual [...,
/// hidden] float32; x is the residual unless one is given. One operation.
mx::array cpu_mixture(const mx::array& x, std::shared_ptr<const CpuExperts> experts, float multiplier,
                      const std::optional<mx::array>& residual = std::nullopt);

}  // namespace mlxk
