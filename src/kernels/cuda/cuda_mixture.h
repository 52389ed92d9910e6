#pragma once

#include <memory>
#include <optional>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/device.h"
#include "mlx/array.h"

namespace mlxk {

/// A mixture's weights in the kernels' form.
struct CudaMixture {
  MatrixWeights router;
  std::shared_ptr<const CudaLayer> packed_router;  // null if the kernels do not support its packing
  std::shared_ptr<const CudaLayer> gate_up, down;  // stacks; gate_up with the norm
  std::optional<mx::array> selection_bias, expert_scale;
  RoutingRule rule;
  int experts, activation;
};

/// Evaluates the weights. Null if the kernels do not support them: gate, up and down must be as cuda_layer says, with
/// up to 1,024 experts of which up to 32 are chosen, and the router packed as there or not at all; `activation` is
/// cuda_gated's.
std::shared_ptr<const CudaMixture> cuda_mixture_layer(MixtureWeights mixture, int activation);

/// residual + multiplier * the weighted sum of the chosen experts, as one operation: x [..., hidden]; the residual is x
/// unless given. `logits` [..., experts] float32 is the router's output for norm(x); it may be absent if x has few rows
/// (kCudaFewRows) and there is a packed_router.
mx::array cuda_mixture(const mx::array& x, std::shared_ptr<const CudaMixture> mixture, float multiplier,
                       const std::optional<mx::array>& residual, const std::optional<mx::array>& logits = std::nullopt);

}  // namespace mlxk
