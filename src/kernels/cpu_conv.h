#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// The weights of a convolution, evaluated and looked over once.
struct CpuConv;

struct ConvOptions {
  std::pair<int, int> stride{1, 1}, padding{0, 0}, dilation{1, 1};  // of height and width
  int groups = 1;
};

/// weight [out, kernel height, kernel width, in / groups] of floats, bias [out] float32; throws when they or the
/// options do not fit together.
std::shared_ptr<const CpuConv> cpu_conv(const mx::array& weight, const std::optional<mx::array>& bias,
                                        const ConvOptions& options);

/// x [batch, height, width, in] float32 → [batch, out height, out width, out]; throws when the channels differ or the
/// kernel does not fit into the padded input. One operation of the graph.
mx::array cpu_convolved(const mx::array& x, std::shared_ptr<const CpuConv> conv);

}  // namespace mlxk
