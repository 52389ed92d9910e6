#pragma once

#include <optional>

#include "mlx/array.h"

namespace mlxk {

/// The activation of an MLP, of experts or of a gate.
struct Activation {
  enum Kind {
    silu,
    gelu,
    gelu_tanh,
    quick_gelu,  // x · sigmoid(1.702 x)
    relu,
    relu_squared,
    sigmoid,
    softplus,
    tanh,
    swiglu_oai,  // gated only: gate · sigmoid(alpha · gate) · (up + 1), gate at most `limit`, up within ±`limit`
    xielu,       // with `parameters`
  };

  Activation(Kind kind = silu, float limit = 0, float alpha = 1.702F) : kind(kind), limit(limit), alpha(alpha) {}

  Kind kind;
  float limit;  // 0: none; else act(gate) is at most `limit`, and up within ±`limit`
  float alpha;  // swiglu_oai's
  // xielu's alpha_p, alpha_n, beta and eps, [4] float32, as in the checkpoint
  std::optional<mlx::core::array> parameters;
};

/// The number of a gated MLP's activation in the kernels (CpuKernels::gated and the CUDA sources); nullopt if they do
/// not support it.
inline std::optional<int> gated_number(const Activation& activation) {
  if (activation.limit != 0) return std::nullopt;
  switch (activation.kind) {
    case Activation::silu: return 0;
    case Activation::gelu: return 1;
    case Activation::gelu_tanh: return 2;
    default: return std::nullopt;
  }
}

}  // namespace mlxk
