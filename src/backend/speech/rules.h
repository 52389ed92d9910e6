#pragma once

#include <span>
#include <vector>

#include "worker/speech.h"

namespace mlxk {

/// Sets the tokens that must not follow `tokens` (the answer so far, without the prompt) to -inf in `logits` [vocab],
/// by OpenAI's rules: suppressed tokens are excluded; timestamps come in pairs and do not go back; a timestamp must
/// come if all timestamps together are likelier than any text token.
void apply_rules(const SpeechRules& rules, std::span<const int32_t> tokens, std::span<float> logits);

}  // namespace mlxk
