#pragma once

#include <mlx/array.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "sample/sampler.h"
#include "worker/sampling.h"

namespace mlxk {

/// One step of a Sampler; the CPU computes several of them in one operation.
struct CpuStep {
  std::shared_ptr<const Sampling> sampling;
  int row = 0;                              // of the logits
  std::optional<mlx::core::array> history;  // Penalties::history()
  bool constrained = false;
  std::vector<uint32_t> allowed;  // from TokenConstraint::allowed, if constrained
  bool xtc = false;               // whether XTC applies in this step
  double uniform = 0;             // in [0, 1), for the draw
  int top_logprobs = -1;
};

/// The tokens that `steps` choose from `logits`, float32 [rows, vocab], lazily. One operation.
std::vector<Sample> cpu_sample(const mlx::core::array& logits, std::vector<CpuStep> steps);

}  // namespace mlxk
