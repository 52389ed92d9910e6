#pragma once

#include <string>

#include "kernels/activation.h"
#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// Reads an activation's name in config.json ("silu", "gelu_pytorch_tanh", …); throws unsupported for an unknown one.
Activation read_activation(const std::string& name);

/// The activation alone, of x [...].
mx::array activate(const Activation& activation, const mx::array& x);

/// The activation of a gated MLP: act(gate) · up, with the limits.
mx::array activate_gated(const Activation& activation, const mx::array& gate, const mx::array& up);

}  // namespace mlxk
