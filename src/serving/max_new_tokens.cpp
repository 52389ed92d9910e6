#include "serving/max_new_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

namespace mlxk {

namespace {
constexpr const char* kHint = "shorten the prompt or use a model with a longer context";

std::string context_text(int64_t context) {
  return context > 0 ? fmt::format("; the model's context holds {} tokens, the answer included", context) : "";
}
}  // namespace

ContextFull::ContextFull(int64_t prompt_tokens, int64_t context)
    : Error(ErrorKind::invalid,
            fmt::format("the prompt is too long: it has {} tokens{}", prompt_tokens, context_text(context)), kHint) {}

ContextFull::ContextFull(const TextTooLong& error, int64_t context)
    : Error(ErrorKind::invalid, fmt::format("the prompt is too long: {}{}", error.what(), context_text(context)),
            kHint) {}

int64_t max_new_tokens_for(int64_t context, int64_t prompt_tokens, std::optional<int64_t> asked, int64_t fallback) {
  const int64_t tokens = asked.value_or(fallback);
  if (context <= 0) return tokens;
  if (prompt_tokens >= context) throw ContextFull(prompt_tokens, context);
  return std::min(tokens, context - prompt_tokens);
}

}  // namespace mlxk
