#pragma once

#include <cstdint>

#include "cpu/rotation.h"

namespace mlxk {

/// A norm of each head by its root mean square; without a factor there is none.
struct HeadFactor {
  const float* weight;
  float eps;
};

/// Norms, turns and again norms the heads of every token: x, out [tokens, heads, dim]; `turn` may be null. On all
/// kernel threads; from one thread at a time.
void rotate_heads(const float* x, int64_t tokens, int64_t heads, int64_t dim, HeadFactor norm, const CosSinTable* turn,
                  bool traditional, HeadFactor post_rope_norm, float* out);

}  // namespace mlxk
