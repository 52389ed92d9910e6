#pragma once

#include <vector>

#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// What a row wants of its next token.
struct CudaSampleRow {
  int row = 0;                 // of the logits
  float temperature = 0;       // 0: the largest
  float top_p = 1, min_p = 0;  // 1 and 0: all
  int top_k = 0;               // 0: all; more where several are equal to the last
  float uniform = 0;           // in [0, 1): what decides
};

/// The next tokens, in the order of the rows that were asked for; in the host's reach.
struct CudaSamples {
  mx::array tokens;  // int32 [n, 1]
  mx::array checks;  // float32 [n, 1]: finite unless the logits are unusable; then the token is any of the vocabulary
};

/// Chooses from logits [any, vocab] of a float type, as one operation: top_p, then min_p, then top_k, as Sampler does.
CudaSamples cuda_sample(const mx::array& logits, std::vector<CudaSampleRow> rows);

}  // namespace mlxk
