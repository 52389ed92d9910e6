#include "kernels/cpu/rotate_heads.h"

#include <cstring>

#include "cpu/features.h"
#include "cpu/threads.h"

namespace mlxk {

void rotate_heads(const float* x, int64_t tokens, int64_t heads, int64_t dim, HeadFactor norm, const CosSinTable* turn,
                  bool traditional, HeadFactor post_rope_norm, float* out) {
  const auto& kernels = cpu_kernels();
  parallel_for(tokens, grain_of(4 * heads * dim), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin * heads; i < end * heads; ++i) {
      float* y = out + i * dim;
      if (norm.weight) {
        kernels.rms_norm(x + i * dim, norm.weight, norm.eps, dim, y);
      } else {
        std::memcpy(y, x + i * dim, sizeof(float) * static_cast<size_t>(dim));
      }
      if (turn) kernels.rotate(y, turn->cosines(i / heads), turn->sines(i / heads), turn->pairs, traditional);
      if (post_rope_norm.weight) kernels.rms_norm(y, post_rope_norm.weight, post_rope_norm.eps, dim, y);
    }
  });
}

}  // namespace mlxk
