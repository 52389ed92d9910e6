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

/// One chosen token with its log-probabilities, evaluated or not. Worker thread only.
struct Sample {
  mlx::core::array tokens;  // int32 [n, 1], all tokens chosen in one operation; always within the vocabulary
  mlx::core::array checks;  // float32 [n, 1], finite unless the logits are unusable
  int row = 0;              // this sample's row of both
  std::optional<mlx::core::array> logprob = {};       // float32 [1, 1], if requested
  std::optional<mlx::core::array> top_tokens = {};    // uint32 [1, n], unordered, if requested
  std::optional<mlx::core::array> top_logprobs = {};  // float32 [1, n], parallel to top_tokens

  /// int32 [1, 1].
  mlx::core::array token() const;
  /// All existing arrays of the above, for async_eval.
  std::vector<mlx::core::array> arrays() const;
  /// Waits; false if the logits had a NaN or +inf, or if no token was allowed.
  bool finite() const;
  /// Waits; the token's id, meaningless unless finite().
  int32_t value() const;
  /// Waits; the token with the requested log-probabilities, likeliest first.
  TokenEvent event() const;
};

/// The tokens of `samples` (at least one) as the ids of a step, int32 [n, 1]: without a copy if they are all tokens of
/// one operation, in its order.
mlx::core::array token_ids(std::span<const Sample> samples);

class Sampler;

/// A request's part in a step.
struct SamplerRow {
  Sampler* sampler;
  int row = 0;                                   // an index into the rows of the logits
  std::optional<std::vector<uint32_t>> allowed;  // from TokenConstraint::allowed; absent: every token
  int top_logprobs = -1;                         // as in GenerateRequest
};

/// The next token for each of `rows` from `logits` [B, vocab] of any float type, lazily. On the CPU all rows are one
/// operation; on CUDA those without penalties, constraints, XTC and log-probabilities are. A row's bits do not depend
/// on the others. Throws internal if an id that a sampler was made with is past the logits. Worker thread only.
std::vector<Sample> sample_rows(const mlx::core::array& logits, std::vector<SamplerRow> rows);

/// The tokens that `constraint` allows next, in the form of SamplerRow.
std::vector<uint32_t> allowed_bits(TokenConstraint& constraint, int vocab);

/// Chooses the tokens of one request, in mlx-lm's order (see Sampling). It remembers its own tokens on the device, so
/// step n + 1 can be built before step n is evaluated. Worker thread only.
class Sampler {
 public:
  /// Takes a `sampling` that check_sampling accepted, and the prompt's ids for the penalties. A step is one operation
  /// if the graph is for the CPU, else a chain of libmlx's operations unless sample_rows has a faster way; tests may
  /// choose.
  Sampler(const Sampling& sampling, std::span<const int32_t> prompt, bool one_operation = cpu_is_default());
  /// The next token from `logits` [1, vocab], as in sample_rows; `constraint`, if not null, limits it (calling accept()
  /// remains the caller's task).
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
