#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "chat/tools/grammar_text.h"
#include "chat/tools/whole_calls.h"

namespace mlxk {

/// The calls in a text like `call:f{a:"text",n:1,list:[1,2],object:{k:true}}`, with strings between `quote`s; nullopt
/// if one is malformed.
std::optional<std::vector<WholeCall>> brace_calls(std::string_view text, std::string_view quote);

/// The grammar expression for a call of `tool` in that form.
std::string brace_call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view quote);

}  // namespace mlxk
