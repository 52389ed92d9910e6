#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <mlx/array.h>

#include "sample/sampler.h"
#include "worker/request.h"

namespace mlxk {

/// One step of a Sampler as one operation on the CPU.
struct CpuStep {
  std::shared_ptr<const Sampling> sampling;
  std::optional<mlx::core::array> history;  // Penalties::history()
  bool constrained = false;
  std::vector<uint32_t> allowed;  // as TokenConstraint::allowed gives it, where constrained
  bool xtc = false;               // how its coin fell
  double uniform = 0;             // in [0, 1), for the draw
  int top_logprobs = -1;
};

/// The token that `step` chooses from `logits`, float32 [1, vocab], lazily.
Sample cpu_sample(const mlx::core::array& logits, CpuStep step);

}  // namespace mlxk
