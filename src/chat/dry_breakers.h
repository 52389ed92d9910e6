#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace mlxk {

/// The token sequences that spell `breakers`, for Sampling::dry_breakers: each token whose text contains a breaker, and
/// each whose text ends with the beginning of a breaker, with the tokens of the rest. Scans the vocabulary once.
std::vector<std::vector<int32_t>> dry_breakers(const Tokenizer& tokenizer, const std::vector<std::string>& breakers);

}  // namespace mlxk
