#pragma once

#include <optional>
#include <vector>

#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// Sums over the tokens of texts that are packed one after the other.
struct TextSums {
  std::vector<int> lengths;     // tokens of each text
  std::vector<float> weights;   // one per token; 0: it does not count
  std::vector<float> divisors;  // one per text
};

/// The sum of weights[t] · x[t] over each text's tokens, divided: x [tokens, columns] → [texts, columns], by the
/// device's own operation; nullopt if it has none.
std::optional<mx::array> text_sums(const mx::array& x, const TextSums& sums);

}  // namespace mlxk
