#pragma once

#include <span>
#include <vector>

#include "mlx/array.h"
#include "worker/event.h"

namespace mlxk {

/// Appends to `scores` the log-probability of each of `n` tokens and the `top` likeliest alternatives, likeliest first,
/// from the evaluated `logits` [1, n, vocab] float32. Returns false if logits are not finite. Worker thread.
bool score_tokens(const mlx::core::array& logits, std::span<const int32_t> tokens, int top,
                  std::vector<TokenEvent>& scores);

}  // namespace mlxk
