#pragma once

#include <memory>
#include <optional>

#include "kernels/cpu_experts.h"
#include "nn/blocks.h"

namespace mlxk {

/// A stack of matrices, one for each expert of a layer.
class ExpertLinear {
 public:
  /// Takes `weight` [experts, out, in] (or its packed form) and, with `bias`, `bias` [experts, out] at `path`.
  ExpertLinear(const WeightPath& path, int experts, int in, int out, bool bias = false);
  /// x [tokens, 1 or k, 1, in] and ids [tokens, k] uint32 → [tokens, k, 1, out], by libmlx's operations.
  mx::array operator()(const mx::array& x, const mx::array& ids) const;
  /// As Matrix::cpu.
  std::optional<CpuMatrix> cpu() const;

 private:
  int in_, out_;
  mx::array weight_;
  std::optional<mx::array> scales_, biases_, bias_;
  Quantization packing_;
};

/// x + multiplier · the weighted sum of down(act(gate(h)) · up(h)) of the experts that the router chooses for h =
/// norm(x).
struct MixtureResidual {
  std::optional<RmsNorm> norm;
  Linear router;  // [experts, hidden]
  ExpertLinear gate, up, down;
  RoutingRule rule;                         // but for its bias
  std::optional<mx::array> selection_bias;  // [experts] float32
  Activation activation = Activation::silu;
  float multiplier = 1;
  mutable std::shared_ptr<const CpuExperts> experts = nullptr;  // all of it for the CPU, made at the first call

  mx::array operator()(const mx::array& x) const;  // [B, L, hidden]
  /// The same as a chain of libmlx's operations, as every other device runs it.
  mx::array by_operations(const mx::array& x) const;
};

}  // namespace mlxk
