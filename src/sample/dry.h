#pragma once

#include <cstdint>
#include <span>

#include "worker/sampling.h"

namespace mlxk {

/// The DRY penalty as in llama.cpp: subtracts `dry_multiplier` · `dry_base` ^ (length − `dry_allowed_length`) from the
/// logit of each token that would continue a repetition of that length, that is, a token that followed the last tokens
/// of `history` (oldest first) at an earlier place. A breaker ends a repetition, and is not penalised itself if it is a
/// single token. Linear in the length of the history. Any thread; every id must be within the logits.
void penalise_repetitions(const Sampling& sampling, std::span<const int32_t> history, std::span<float> logits);

}  // namespace mlxk
