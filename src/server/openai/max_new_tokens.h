#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace mlxk {

/// How many tokens an answer may have: what is `asked` for, else the server's default (0: none), else half the context;
/// never more than the context leaves. Throws ApiError 400 naming `param` where the prompt fills the context. `context`
/// 0: unknown.
int64_t max_new_tokens_for(int64_t context, int64_t prompt_tokens, std::optional<int64_t> asked, int64_t server_default,
                           const std::string& param);

}  // namespace mlxk
