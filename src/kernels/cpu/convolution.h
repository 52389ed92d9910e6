#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "kernels/device.h"
#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// weight [out, kernel height, kernel width, in / groups] of floats, bias [out] float32; throws if they or the options
/// do not match.
Packed cpu_conv(const mx::array& weight, const std::optional<mx::array>& bias, const ConvOptions& options);

/// x [batch, height, width, in] float32 → [batch, out height, out width, out]; throws if the channels differ or the
/// kernel does not fit into the padded input. One operation of the graph.
mx::array cpu_convolved(const mx::array& x, Packed conv);

}  // namespace mlxk
