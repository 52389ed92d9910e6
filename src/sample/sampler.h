#pragma once

#include <mlx/array.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/cpu_op.h"
#include "sample/penalties.h"
#include "worker/sampling.h"

namespace mlxk {

class TokenConstraint;
struct TokenEvent;

/// One chosen token and what is told about it, evaluated or not. Worker thread only.
struct Sample {
  mlx::core::array tokens;  // int32 [n, 1], of all that were chosen in one operation; always of the vocabulary
  mlx::core::array checks;  // float32 [n, 1], finite unless the logits are unusable
  int row = 0;              // of both, this one's
  std::optional<mlx::core::array> logprob = {};       // float32 [1, 1], when asked for
  std::optional<mlx::core::array> top_tokens = {};    // uint32 [1, n], unordered, when asked for
  std::optional<mlx::core::array> top_logprobs = {};  // float32 [1, n], parallel to top_tokens

  /// int32 [1, 1].
  mlx::core::array token() const;
  /// All of the above that exist, for async_eval.
  std::vector<mlx::core::array> arrays() const;
  /// Waits; false when the logits had a NaN or +inf, or when no token was allowed.
  bool finite() const;
  /// Waits; the token's id, meaningless unless finite().
  int32_t value() const;
  /// Waits; the token with the log-probabilities asked for, likeliest first.
  TokenEvent event() const;
};

/// The tokens of `samples` (at least one) as the ids of a step, int32 [n, 1]: without a copy where they are all that
/// one operation has chosen, in its order.
mlx::core::array token_ids(std::span<const Sample> samples);

class Sampler;

/// What a request wants of a step.
struct SamplerRow {
  Sampler* sampler;
  int row = 0;                                   // of the logits
  std::optional<std::vector<uint32_t>> allowed;  // as TokenConstraint::allowed gives it; absent: every token
  int top_logprobs = -1;                         // as in GenerateRequest
};

/// The next token of each of `rows` from `logits` [B, vocab] of any float type, lazily; for the CPU all of them are one
/// operation, on CUDA those that want neither penalties nor constraints, XTC or log-probabilities are. A row's bits do
/// not depend on the others. Throws internal when an id that a sampler was made with is past
/// the logits. Worker thread only.
std::vector<Sample> sample_rows(const mlx::core::array& logits, std::vector<SamplerRow> rows);

/// What `constraint` allows next, as SamplerRow takes it.
std::vector<uint32_t> allowed_bits(TokenConstraint& constraint, int vocab);

/// Chooses the tokens of one request, in mlx-lm's order (see Sampling). It remembers its own tokens on the device, so
/// step n + 1 can be built before step n is evaluated. Worker thread only.
class Sampler {
 public:
  /// Takes a `sampling` that check_sampling accepted, and the prompt's ids, which the penalties look at. A step is one
  /// operation where the graph is for the CPU, elsewhere a chain of libmlx's unless sample_rows knows better; tests may
  /// say which.
  Sampler(const Sampling& sampling, std::span<const int32_t> prompt, bool one_operation = cpu_is_default());
  /// The next token from `logits` [1, vocab], as sample_rows; `constraint`, where not null, says what is allowed (its
  /// accept() stays the caller's).
  Sample sample(const mlx::core::array& logits, TokenConstraint* constraint = nullptr, int top_logprobs = -1);

 private:
  friend std::vector<Sample> sample_rows(const mlx::core::array& logits, std::vector<SamplerRow> rows);

  Sample chain(mlx::core::array logits, const SamplerRow& wanted);
  bool is_plain(const SamplerRow& wanted) const;
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
