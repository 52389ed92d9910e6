#pragma once

#include <string>

#include "kernels/activation.h"
#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// Reads config.json's name of an activation ("silu", "gelu_pytorch_tanh", …); throws unsupported for another.
Activation read_activation(const std::string& name);

/// The activation by itself, of x [...].
mx::array activate(const Activation& activation, const mx::array& x);

/// The activation of an MLP with a gate: act(gate) · up, with the limits.
mx::array activate_gated(const Activation& activation, const mx::array& gate, const mx::array& up);

}  // namespace mlxk
