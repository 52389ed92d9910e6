#pragma once

#include <vector>

#include "mlx/array.h"
#include "nn/linear.h"

namespace mlxk {

namespace mx = mlx::core;

/// softmax(scale · q kᵀ) v over whole sequences, where every token sees every other: q [B, L, heads * head_dim], k and
/// v [B, T, heads * head_dim] → [B, L, heads * head_dim].
mx::array attend_to_all(const mx::array& q, const mx::array& k, const mx::array& v, int heads, float scale);

/// The keys and values that a decoder reads from one encoder's output, [1, heads, T, head_dim]; in float16 on the CPU,
/// because each decoded token reads all of them.
struct CrossKeys {
  mx::array keys, values;
};

/// Projects an encoder's output [1, T, hidden] to the keys and values of one decoder layer.
struct CrossProjection {
  Linear k, v;
  int heads;

  CrossKeys operator()(const mx::array& x) const;
};

/// attend_to_all with separate keys for each row of q: row r uses rows[r].
mx::array attend_across(const mx::array& q, const std::vector<const CrossKeys*>& rows, float scale);

/// scale · q kᵀ of one head, q [1, L, heads * head_dim] → [L, T].
mx::array cross_scores(const mx::array& q, const CrossKeys& seen, int head, float scale);

}  // namespace mlxk
