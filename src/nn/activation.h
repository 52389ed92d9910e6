#pragma once

#include <optional>
#include <string>

#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

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

  /// The kernels' number of this activation (CpuKernels::gated); nullopt where they do not know it.
  std::optional<int> kernel_number() const;

  Kind kind;
  float limit;  // 0: none; else act(gate) is at most `limit`, and up within ±`limit`
  float alpha;  // swiglu_oai's
  std::optional<mx::array>
      parameters;  // xielu's alpha_p, alpha_n, beta and eps, [4] float32, as the checkpoint has them
};

/// Reads config.json's name of an activation ("silu", "gelu_pytorch_tanh", …); throws unsupported for another.
Activation read_activation(const std::string& name);

/// The activation by itself, of x [...].
mx::array activate(const Activation& activation, const mx::array& x);

/// The activation of an MLP with a gate: act(gate) · up, with the limits.
mx::array activate_gated(const Activation& activation, const mx::array& gate, const mx::array& up);

}  // namespace mlxk
