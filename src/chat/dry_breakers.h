#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace mlxk {

/// The token sequences in which `breakers` are written, for Sampling::dry_breakers: each token whose text holds a
/// breaker, and each whose text ends with a breaker's beginning, with the tokens of the rest. Goes over the vocabulary
/// once.
std::vector<std::vector<int32_t>> dry_breakers(const Tokenizer& tokenizer, const std::vector<std::string>& breakers);

}  // namespace mlxk
