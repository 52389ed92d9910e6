#pragma once

#include <vector>

#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// The sampling of a row's next token.
struct CudaSampleRow {
  int row = 0;                 // of the logits
  float temperature = 0;       // 0: the largest
  float top_p = 1, min_p = 0;  // 1 and 0: all
  int top_k = 0;               // 0: all; more if several equal the last
  float uniform = 0;           // in [0, 1): the random number of the draw
};

/// The next tokens, in the order of the requested rows; the host can read them.
struct CudaSamples {
  mx::array tokens;  // int32 [n, 1]
  mx::array checks;  // float32 [n, 1]: finite unless the logits are unusable; then the token is arbitrary, but within
                     // the vocabulary
};

/// Chooses from logits [any, vocab] of a float type, as one operation: top_p, then min_p, then top_k, like Sampler.
CudaSamples cuda_sample(const mx::array& logits, std::vector<CudaSampleRow> rows);

}  // namespace mlxk
