#pragma once

#include <cstdint>
#include <optional>

#include "base/error.h"

namespace mlxk {

/// A prompt that leaves no room for an answer in the model's context.
class ContextFull : public Error {
 public:
  ContextFull(int64_t prompt_tokens, int64_t context);
};

/// How many tokens an answer may have: `asked`, else `fallback`, and never more than the prompt leaves of `context` (0:
/// unknown). Throws ContextFull.
int64_t max_new_tokens_for(int64_t context, int64_t prompt_tokens, std::optional<int64_t> asked, int64_t fallback);

}  // namespace mlxk
