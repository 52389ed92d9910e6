#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <mlx/array.h>

#include "sample/penalties.h"
#include "worker/request.h"

namespace mlxk {

/// One chosen token, not evaluated yet.
struct Sampled {
  mlx::core::array token;  // int32 [1], in [0, vocab) even where the logits are NaN: safe to feed to the next step
  mlx::core::array check;  // float32 [1]: finite unless the logits are unusable
  std::optional<mlx::core::array> logprob;       // float32 [1], when asked for
  std::optional<mlx::core::array> top_tokens;    // uint32 [n], unordered, when asked for
  std::optional<mlx::core::array> top_logprobs;  // float32 [n], parallel to top_tokens

  /// All of the above that exist, for async_eval.
  std::vector<mlx::core::array> outputs() const;
  /// Waits for the token and returns it with its log-probabilities, likeliest first; throws bad_model on NaN logits.
  TokenEvent read() const;
};

/// Chooses the tokens of one request, in mlx-lm's order (see Sampling). It remembers its own tokens on the device, so
/// step n + 1 can be built before step n is evaluated. Worker thread only.
class Sampler {
 public:
  /// Checks `sampling` against the vocabulary (throws invalid); `top_logprobs` as in GenerateRequest.
  Sampler(const Sampling& sampling, std::span<const int32_t> prompt, int64_t vocab_size, int top_logprobs = -1);
  /// The next token from `logits` [1, vocab] or [1, 1, vocab] of any float type. `allowed` is empty or a grammar's mask
  /// of ceil(vocab / 32) words as TokenConstraint fills it: only tokens whose bit is set may be chosen.
  Sampled next(const mlx::core::array& logits, std::span<const uint32_t> allowed = {});

 private:
  mlx::core::array draw(const mlx::core::array& logprobs);
  uint64_t random();

  Sampling sampling_;
  int vocab_size_;
  int top_logprobs_;
  Penalties penalties_;
  uint64_t random_state_;
};

}  // namespace mlxk
