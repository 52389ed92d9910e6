#pragma once

#include <mlx/array.h>

#include <cstdint>
#include <vector>

namespace mlxk {

// Each filter takes and returns untempered log-probabilities [1, vocab] float32, lazily; a removed token becomes -inf.
// Definitions as in mlx-lm 0.32.2. Worker thread only.

/// Keeps the likeliest tokens until their total probability reaches `top_p`, with all ties of the last one.
mlx::core::array keep_top_p(const mlx::core::array& logprobs, float top_p);
/// Keeps tokens at least `min_p` (above 0) times as likely as the likeliest, and always `min_tokens` of them.
mlx::core::array keep_min_p(const mlx::core::array& logprobs, float min_p, int min_tokens);
/// Removes all tokens likelier than `threshold` except the least likely of them; never one of `special`.
mlx::core::array exclude_top_choices(const mlx::core::array& logprobs, float threshold,
                                     const std::vector<int32_t>& special);
/// Keeps the `k` (at least 1) likeliest tokens; all if the vocabulary has no more.
mlx::core::array keep_top_k(const mlx::core::array& logprobs, int k);

}  // namespace mlxk
