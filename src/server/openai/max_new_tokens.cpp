#include "server/openai/max_new_tokens.h"

#include <fmt/format.h>

#include <algorithm>

#include "server/api_error.h"

namespace mlxk {

namespace {
constexpr int64_t kUnknownContextTokens = 2048;
}

int64_t max_new_tokens_for(int64_t context, int64_t prompt_tokens, std::optional<int64_t> asked, int64_t server_default,
                           const std::string& param) {
  if (context > 0 && prompt_tokens >= context) {
    throw ApiError(ErrorKind::invalid,
                   fmt::format("the prompt has {} tokens; the model's context holds {}, the answer included",
                               prompt_tokens, context),
                   param, "context_length_exceeded");
  }
  int64_t tokens = context > 0 ? std::max<int64_t>(1, context / 2) : kUnknownContextTokens;
  if (server_default > 0) tokens = server_default;
  if (asked) tokens = *asked;
  return context > 0 ? std::min(tokens, context - prompt_tokens) : tokens;
}

}  // namespace mlxk
