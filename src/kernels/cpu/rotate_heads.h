#pragma once

#include <cstdint>

#include "cpu/rotation.h"

namespace mlxk {

/// A root mean square norm of each head; null weights: no norm.
struct HeadFactor {
  const float* weight;
  float eps;
};

/// Norms, rotates and norms again the heads of every token: x, out [tokens, heads, dim]; `turn` may be null. Runs on
/// all kernel threads; call it from one thread at a time.
void rotate_heads(const float* x, int64_t tokens, int64_t heads, int64_t dim, HeadFactor norm, const CosSinTable* turn,
                  bool traditional, HeadFactor post_rope_norm, float* out);

}  // namespace mlxk
