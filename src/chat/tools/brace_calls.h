#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "chat/tools/whole_calls.h"

namespace mlxk {

/// The calls in a text like `call:f{a:"text",n:1,list:[1,2],object:{k:true}}`, where strings stand between `quote`s; nullopt
/// where one is malformed.
std::optional<std::vector<WholeCall>> brace_calls(std::string_view text, std::string_view quote);

}  // namespace mlxk
