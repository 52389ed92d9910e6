#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace mlxk {

/// How the next token is chosen, in mlx-lm's order: logit bias and penalties (DRY last) on the logits, log-softmax,
/// then top-p → min-p → XTC → top-k on the untempered log-probabilities, then a draw at `temperature` (0: argmax).
struct Sampling {
  float temperature = 0.7F;
  float top_p = 0.9F;  // (0, 1]; 1 switches it off
  float min_p = 0.0F;  // [0, 1]
  int min_tokens_to_keep = 1;
  int top_k = 0;  // 0 switches it off
  float xtc_probability = 0.0F;
  float xtc_threshold = 0.0F;
  std::vector<int32_t> xtc_special_tokens;  // never excluded by XTC
  float repetition_penalty = 1.0F;
  int repetition_context_size = 20;
  float presence_penalty = 0.0F;
  int presence_context_size = 20;
  float frequency_penalty = 0.0F;
  int frequency_context_size = 20;
  // DRY penalises tokens that would continue a repetition beyond the allowed length (sample/dry.h).
  float dry_multiplier = 0.0F;                     // 0 switches it off
  float dry_base = 1.75F;                          // at least 1
  int dry_allowed_length = 2;                      // at least 1
  int dry_penalty_last_n = -1;                     // the number of recent tokens considered; -1: all, 0: none
  std::vector<std::vector<int32_t>> dry_breakers;  // token sequences that end a repetition; ascending
  std::vector<std::pair<int32_t, float>> logit_bias;
  std::optional<uint64_t> seed;  // absent: a fresh one each time
};

}  // namespace mlxk
