#pragma once

#include <span>
#include <vector>

#include "mlx/array.h"
#include "worker/event.h"

namespace mlxk {

/// Adds to `scores` what evaluated `logits` [1, n, vocab] float32 say of n `tokens`, row by row: each one's
/// log-probability, and the `top` likeliest, likeliest first. False where logits are not finite. Worker thread.
bool score_tokens(const mlx::core::array& logits, std::span<const int32_t> tokens, int top,
                  std::vector<TokenEvent>& scores);

}  // namespace mlxk
