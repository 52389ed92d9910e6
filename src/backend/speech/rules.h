#pragma once

#include <span>
#include <vector>

#include "worker/speech.h"

namespace mlxk {

/// Sets what must not follow `tokens` (the answer so far, without the prompt) to -inf in `logits` [vocab], by openai's
/// rules: the suppressed ones, and timestamps that stand in pairs, do not go back, and come where together they are
/// likelier than any text.
void apply_rules(const SpeechRules& rules, std::span<const int32_t> tokens, std::span<float> logits);

}  // namespace mlxk
