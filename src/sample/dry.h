#pragma once

#include <cstdint>
#include <span>

#include "worker/sampling.h"

namespace mlxk {

/// Takes `dry_multiplier` · `dry_base` ^ (length − `dry_allowed_length`) off the logit of each token that would go on
/// with a repetition of that length: of the last tokens of `history` (oldest first), seen before and followed by that
/// token. A breaker ends what counts as repeated, and is not penalised itself where it is a single token. As llama.cpp
/// has it. In time linear in the history. Any thread; every id must be within the logits.
void penalise_repetitions(const Sampling& sampling, std::span<const int32_t> history, std::span<float> logits);

}  // namespace mlxk
