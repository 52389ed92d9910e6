#include "serving/max_new_tokens.h"

#include <fmt/format.h>

#include <algorithm>

namespace mlxk {

ContextFull::ContextFull(int64_t prompt_tokens, int64_t context)
    : Error(ErrorKind::invalid,
            fmt::format("the prompt has {} tokens; the model's context holds {}, the answer included", prompt_tokens,
                        context),
            "shorten the prompt or take a model with a longer context") {}

int64_t max_new_tokens_for(int64_t context, int64_t prompt_tokens, std::optional<int64_t> asked, int64_t fallback) {
  const int64_t tokens = asked.value_or(fallback);
  if (context <= 0) return tokens;
  if (prompt_tokens >= context) throw ContextFull(prompt_tokens, context);
  return std::min(tokens, context - prompt_tokens);
}

}  // namespace mlxk
