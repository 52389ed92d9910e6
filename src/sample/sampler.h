#pragma once

#include <mlx/array.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/cpu_op.h"
#include "sample/penalties.h"
#include "worker/request.h"

namespace mlxk {

/// One chosen token and what is told about it, evaluated or not. Worker thread only.
struct Sample {
  mlx::core::array token;  // int32 [1, 1], the ids of the next step; a token of the vocabulary even on NaN logits
  mlx::core::array check;  // float32 [1, 1], finite unless the logits are unusable
  std::optional<mlx::core::array> logprob;       // float32 [1, 1], when asked for
  std::optional<mlx::core::array> top_tokens;    // uint32 [1, n], unordered, when asked for
  std::optional<mlx::core::array> top_logprobs;  // float32 [1, n], parallel to top_tokens

  /// All of the above that exist, for async_eval.
  std::vector<mlx::core::array> arrays() const;
  /// Waits; false when the logits had a NaN or +inf, or when no token was allowed.
  bool finite() const;
  /// Waits; the token's id, meaningless unless finite().
  int32_t value() const;
  /// Waits; the token with the log-probabilities asked for, likeliest first.
  TokenEvent event() const;
};

class Sampler;

/// What a request wants of a step.
struct SamplerRow {
  Sampler* sampler;
  int row = 0;                                   // of the logits
  std::optional<std::vector<uint32_t>> allowed;  // as TokenConstraint::allowed gives it; absent: every token
  int top_logprobs = -1;                         // as in GenerateRequest
};

/// The next token of each of `rows` from `logits` [B, vocab] of any float type, lazily; for the CPU all of them are one
/// operation. A row's bits do not depend on the others. Throws internal when an id that a sampler was made with is past
/// the logits. Worker thread only.
std::vector<Sample> sample_rows(const mlx::core::array& logits, std::vector<SamplerRow> rows);

/// What `constraint` allows next, as SamplerRow takes it.
std::vector<uint32_t> allowed_bits(TokenConstraint& constraint, int vocab);

/// Chooses the tokens of one request, in mlx-lm's order (see Sampling). It remembers its own tokens on the device, so
/// step n + 1 can be built before step n is evaluated. Worker thread only.
class Sampler {
 public:
  /// Takes a `sampling` that check_sampling accepted, and the prompt's ids, which the penalties look at. A step is one
  /// operation where the graph is for the CPU, elsewhere a chain of libmlx's; tests may say which.
  Sampler(const Sampling& sampling, std::span<const int32_t> prompt, bool one_operation = cpu_is_default());
  /// The next token from `logits` [1, vocab], as sample_rows; `constraint`, where not null, says what is allowed (its
  /// accept() stays the caller's).
  Sample sample(const mlx::core::array& logits, TokenConstraint* constraint = nullptr, int top_logprobs = -1);

 private:
  friend std::vector<Sample> sample_rows(const mlx::core::array& logits, std::vector<SamplerRow> rows);

  Sample chain(mlx::core::array logits, const SamplerRow& wanted);
  mlx::core::array draw(const mlx::core::array& logprobs);
  bool xtc_falls();
  uint64_t random();

  std::shared_ptr<const Sampling> sampling_;
  bool one_operation_;
  Penalties penalties_;
  int32_t largest_id_;
  uint64_t random_state_;
};

}  // namespace mlxk
