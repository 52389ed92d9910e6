#pragma once

#include <memory>
#include <optional>

#include "kernels/device.h"
#include "mlx/array.h"
#include "nn/activation.h"
#include "nn/linear.h"
#include "nn/mlp.h"
#include "nn/norm.h"

namespace mlxk {

/// A stack of matrices, one for each expert of a layer.
class ExpertLinear {
 public:
  /// Takes `weight` [experts, out, in] (or its packed form) and, with `bias`, `bias` [experts, out] at `path`.
  ExpertLinear(const WeightPath& path, int experts, int in, int out, bool bias = false);
  /// x [tokens, 1 or k, 1, in] and ids [tokens, k] uint32 → [tokens, k, 1, out], by libmlx's operations.
  mx::array operator()(const mx::array& x, const mx::array& ids) const;
  /// The same product by the device's own operation if there is one: x [tokens, in] and ids [tokens, k], or x [tokens,
  /// k, in]; → [tokens, k, out].
  mx::array of_chosen(const mx::array& x, const mx::array& ids) const;
  /// The stack in the device's form for activations of that type; null: it has no operations with stacks.
  Packed packed(mx::Dtype type) const;
  /// As Matrix::weights, for the stack.
  MatrixWeights weights() const;
  int experts() const { return experts_; }

 private:
  int experts_, in_, out_;
  mx::array weight_;
  std::optional<mx::array> scales_, biases_, bias_;
  Quantization packing_;
  mutable Packed packed_;  // for the device, made on first use
};

/// Chooses the experts of a token.
struct Router {
  Linear scores;                                 // [experts, hidden]
  RoutingRule rule;                              // without its pointers
  std::optional<mx::array> selection_bias = {};  // [experts] float32
  std::optional<mx::array> expert_scale = {};    // [experts] float32
  std::optional<Norm> norm = {};                 // of the router's input, if it differs from the experts' input
  std::optional<mx::array> input_scale = {};     // [hidden], multiplied onto that input

  struct Chosen {
    mx::array ids, weights;  // [tokens, top_k] uint32 and float32
  };
  /// By libmlx's operations: h [tokens, hidden].
  Chosen operator()(const mx::array& h) const;
};

/// An expert that processes every token.
struct SharedExpert {
  GatedMlpResidual mlp;             // without norms and multiplier
  std::optional<Linear> gate = {};  // [1, hidden]: the output is multiplied by the sigmoid of this projection

  mx::array operator()(const mx::array& h) const;  // [..., hidden], normalised
};

/// residual + multiplier · post_norm(weighted sum of down(act(gate(h)) · up(h)) over the experts that the router
/// chooses for h = norm(x), plus the shared expert's output).
struct MixtureResidual {
  std::optional<Norm> norm;
  Router router;
  std::optional<ExpertLinear> gate;  // absent: experts are down(act(up(h)))
  ExpertLinear up, down;
  Activation activation = Activation::silu;
  float multiplier = 1;
  std::optional<SharedExpert> shared = {};
  std::optional<Norm> post_norm = {};
  bool scales_input = false;        // the weight multiplies an expert's input instead of its output
  mutable Packed packed = nullptr;  // the whole block for the device, made on the first call
  mutable bool tried = false;       // to make it

  /// x [B, L, hidden]; the residual is x unless given, for parallel blocks.
  mx::array operator()(const mx::array& x, const std::optional<mx::array>& residual = std::nullopt) const;
  /// The same as a chain of operations, for devices without an operation of their own.
  mx::array by_operations(const mx::array& x, const std::optional<mx::array>& residual = std::nullopt) const;
  /// The weighted sum of the chosen experts alone: h [tokens, hidden], normalised; `routed` is the router's input.
  mx::array sum_of_experts(const mx::array& h, const mx::array& routed) const;

 private:
  const Packed& as_one() const;
};

}  // namespace mlxk
